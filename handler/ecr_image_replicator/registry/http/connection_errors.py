"""Why an exchange failed, read from the types and numbers of exceptions.

The messages of HTTP libraries quote whole URLs, which may be presigned; they are never shown.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import socket
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from ecr_image_replicator.errors import ReplicationError, Side, TransientError, UnavailableError
from ecr_image_replicator.registry.http.messages import status_text
from ecr_image_replicator.registry.http.response_heads import (
    MalformedHeadError,
    OversizedHeadError,
)
from ecr_image_replicator.retries import RETRYABLE_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecr_image_replicator.registry.http.proxies import Proxy

_MAX_DEPTH: Final = 12
_NOT_TLS_REASONS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
)
#: The first is also that of a connection closed without a response, and then a ConnectionError.
_NOT_HTTP: Final = (http.client.BadStatusLine, http.client.UnknownProtocol)
#: `http.client.HTTPConnection._tunnel` and urllib3 report a proxy's response in this text alone.
_TUNNEL_REJECTED: Final = r"Tunnel connection failed: ([0-9]{3})\b"
_MAX_TUNNEL_CHARACTERS: Final = 100
_UNREACHABLE: Final = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})

#: By OpenSSL's verification error: not yet valid, expired, for another host name or address.
_CERTIFICATE_HINTS: Final = {
    9: "Check the certificate's dates and the clock.",
    10: "Renew the server's certificate.",
    62: "Use a host name that the certificate has, or replace the certificate.",
    64: "Use a host name that the certificate has, or replace the certificate.",
}
_BUNDLE_HINT: Final = (
    "If a private authority signed the certificate, name its bundle in SSL_CERT_FILE."
)


class SilentServerError(ssl.SSLError):
    """A server sent no byte in a TLS handshake; it may be waiting for a plain HTTP request."""


class TunnelRejection(NamedTuple):
    """A proxy's response to CONNECT other than 200 (RFC 9110, section 9.3.6)."""

    proxy: Proxy
    status: int

    def error(self, failed: str, side: Side) -> ReplicationError:
        """Return the error to raise; a retryable status is a `TransientError`.

        Parameters
        ----------
        failed
            The beginning of the message: what failed.
        """
        if self.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            found = "rejected its login" if self.proxy.has_login else "requires a login"
            hint = "Write it as user:password@ before the proxy's host in HTTPS_PROXY."
        else:
            found = "refused the connection"
            hint = "Allow the host in the proxy, or name it in NO_PROXY."
        message = f"{failed}: proxy {self.proxy} {found} ({status_text(self.status)})"
        if self.status in RETRYABLE_STATUSES:
            return TransientError(message, hint=hint)
        return UnavailableError(message, side=side, status=self.status, hint=hint)


def find_tunnel_rejection(error: BaseException, proxy: Proxy | None) -> TunnelRejection | None:
    """Return the proxy's rejection of a tunnel, if that caused the failure."""
    if proxy is None:
        return None
    for cause in _causes(error):
        if rejected := re.match(_TUNNEL_REJECTED, str(cause)[:_MAX_TUNNEL_CHARACTERS]):
            return TunnelRejection(proxy, int(rejected[1]))
    return None


def is_timeout(error: BaseException) -> bool:
    """Return whether nothing was received or sent in time."""
    return _is_caused_by(error, TimeoutError)


def describe_failure(error: BaseException) -> str:  # noqa: PLR0911 - one for each kind
    """Return why a connection failed, in the field's terms and without a URL."""
    if _is_caused_by(error, SilentServerError):
        return "TLS handshake timed out"
    for cause in _causes(error):
        match cause:
            case ssl.SSLError():
                return _describe_tls_error(cause)
            case socket.gaierror():
                return "DNS lookup failed"
            case TimeoutError():
                return "connection timed out"
            case OSError(errno=int(number)):
                return os.strerror(number).lower()
    if _is_caused_by(error, *_NOT_HTTP) and not _is_caused_by(error, ConnectionError):
        return "invalid response (not HTTP)"
    return "connection closed before the end of the response"


def hint_for(error: BaseException) -> str:
    """Return what to do about a host that is unreachable or untrusted, "" for other failures."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _CERTIFICATE_HINTS.get(getattr(cause, "verify_code", 0), _BUNDLE_HINT)
        if isinstance(cause, ssl.SSLError) and _reason(cause) in _NOT_TLS_REASONS:
            return "If the registry uses plain HTTP, name it in PLAIN_HTTP_REGISTRIES."
        if isinstance(cause, socket.gaierror):
            return "Check the host name, and that the network has DNS."
        if isinstance(cause, OSError) and cause.errno in _UNREACHABLE:
            return "Check the host name and port, and that the network allows the connection."
    return ""


def is_oversized_head(error: BaseException) -> bool:
    """Return whether the head of a response exceeds its limits."""
    return _is_caused_by(error, OversizedHeadError, http.client.LineTooLong)


def is_malformed_head(error: BaseException) -> bool:
    """Return whether the headers of a response are malformed or contradict each other."""
    return _is_caused_by(error, MalformedHeadError)


def is_certificate_error(error: BaseException) -> bool:
    """Return whether the certificate was rejected, which a retry does not change."""
    return _is_caused_by(error, ssl.SSLCertVerificationError)


def is_unknown_host(error: BaseException) -> bool:
    """Return whether a DNS lookup failed."""
    return _is_caused_by(error, socket.gaierror)


def is_not_tls(error: BaseException) -> bool:
    """Return whether a TLS handshake failed because the server does not use TLS.

    Python reports a connection that is closed in the handshake as `ssl.SSLEOFError` or, up to
    3.11.2, as `ssl.SSLZeroReturnError`.
    """
    is_closed = _is_caused_by(
        error,
        SilentServerError,
        ssl.SSLEOFError,
        ssl.SSLZeroReturnError,
        ConnectionResetError,
    )
    is_other_protocol = any(
        isinstance(cause, ssl.SSLError) and _reason(cause) in _NOT_TLS_REASONS
        for cause in _causes(error)
    )
    return (is_closed or is_other_protocol) and not is_certificate_error(error)


def _describe_tls_error(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", "").rstrip(".") or "no reason given"
        return f"certificate verification failed ({why})"
    return f"TLS failed ({_reason(error).lower().replace('_', ' ')})"


def _reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason; errors that Python's own code raises do not have the attribute."""
    return getattr(error, "reason", None) or "no reason given"


def _is_caused_by(error: BaseException, *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions that an exception wraps, in arguments and causes, innermost first."""
    found: list[BaseException] = []
    pending: list[object] = [error]
    while pending and len(found) < _MAX_DEPTH:
        candidate = pending.pop(0)
        if isinstance(candidate, BaseException) and candidate not in found:
            found.append(candidate)
            pending += [*candidate.args, getattr(candidate, "reason", None)]
            pending += [candidate.__cause__, candidate.__context__]
    return reversed(found)
