"""The certificates that TLS connections trust: one order of precedence for all of them.

Registries, AWS and the response to CloudFormation use the same store: that of the first variable
in `VARIABLES` that is set, else the bundle of certifi.
"""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: In order of precedence. SSL_CERT_DIR names a directory with hashed names (``openssl rehash``),
#: the others a file in PEM form or such a directory.
VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")


class TrustStore(NamedTuple):
    """A file or directory of trusted certificates.

    Attributes
    ----------
    path
        Where it is.
    variable
        The environment variable that names it, "" for certifi's bundle.
    """

    path: str
    variable: str = ""

    @property
    def is_directory(self) -> bool:
        """Whether certificates are looked up by the hash of their subject."""
        return os.path.isdir(self.path)  # noqa: PTH112 - on the path of every cold start

    def load_into(self, context: ssl.SSLContext) -> None:
        """Trust these certificates in a context.

        certifi's bundle is verified as strictly as Python 3.13 does by default. A named store is
        verified without VERIFY_X509_STRICT only, which rejects many private authorities: those
        without keyUsage, for example.

        Raises
        ------
        OSError
            The store cannot be read, or is not in PEM form (`ssl.SSLError`).
        """
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if self.variable:
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        else:
            context.verify_flags |= ssl.VERIFY_X509_STRICT
        if self.is_directory:
            context.load_verify_locations(capath=self.path)
        else:
            context.load_verify_locations(cafile=self.path)


class UnreadableTrustStoreError(OSError):
    """The trust store does not exist or is not in PEM form; the message names its variable."""


def find_trust_store(environment: Mapping[str, str] = os.environ) -> TrustStore:
    """Return the store of the first variable that is set, else certifi's bundle."""
    for variable in VARIABLES:
        if path := environment.get(variable):
            return TrustStore(path, variable)
    import certifi  # noqa: PLC0415 - a named store does not need it

    return TrustStore(certifi.where())


def shared_context(kind: type[ssl.SSLContext] = ssl.SSLContext) -> ssl.SSLContext:
    """Return the process's client context of this class, which trusts the found store.

    It is made once for each store: parsing certifi's bundle takes as long as an unchanged copy.

    Raises
    ------
    UnreadableTrustStoreError
        The store cannot be read.
    """
    store = find_trust_store()
    try:
        return _context(store, kind)  # type: ignore[arg-type] # a class is hashable
    except OSError as error:
        is_read = isinstance(error, ssl.SSLError)
        reason = "not in PEM form" if is_read else os.strerror(error.errno or 0).lower()
        raise UnreadableTrustStoreError(
            f"invalid certificate bundle {store.path} in {store.variable}: {reason}"
        ) from error


def new_unverified_context(kind: type[ssl.SSLContext]) -> ssl.SSLContext:
    """Return a new client context, of a subclass of SSLContext, that accepts any certificate."""
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def response_context(kind: type[ssl.SSLContext] = ssl.SSLContext) -> ssl.SSLContext:
    """Return the context for the response to CloudFormation: the shared one of this class.

    A store that cannot be read must not keep the response from being sent: certifi's is used.
    """
    try:
        return shared_context(kind)
    except UnreadableTrustStoreError:
        return _context(find_trust_store({}), kind)  # type: ignore[arg-type] # as above


@lru_cache(maxsize=4)
def _context(store: TrustStore, kind: type[ssl.SSLContext]) -> ssl.SSLContext:
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    store.load_into(context)
    return context
