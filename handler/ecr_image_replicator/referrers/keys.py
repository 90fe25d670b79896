"""Public keys that signatures are verified with: the only module that knows `cryptography`.

It is imported when a signature is to be verified, and by nothing else: loading it takes time that
other requests do not have to pay for.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from ecr_image_replicator.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

_PEM: Final = re.compile(
    r"\s*-----BEGIN PUBLIC KEY-----(?P<base64>[A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*"
)
_MIN_RSA_BITS: Final = 2048
_SUPPORTED: Final = "ECDSA on P-256, P-384 or P-521, RSA of 2048 bits or more, and Ed25519"
_SHA256, _SHA384, _SHA512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()
#: cosign signs with SHA-256 whatever the key; KMS and newer versions with the curve's own.
_CURVES: Final[dict[str, tuple[hashes.HashAlgorithm, ...]]] = {
    "secp256r1": (_SHA256,),
    "secp384r1": (_SHA384, _SHA256),
    "secp521r1": (_SHA512, _SHA256),
}
_Key = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that says of a signature whether it made it.

    Attributes
    ----------
    origin
        Where it comes from, for sentences.
    """

    origin: str
    _key: _Key = field(repr=False)

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Tell whether the signature of the message is by this key.

        ECDSA signatures are ASN.1 (X9.62), RSA's PKCS #1 v1.5 or PSS (RFC 8017), Ed25519's those
        of RFC 8032.
        """
        return any(_passes(attempt, signature, message) for attempt in _attempts(self._key))


def parse_pem_key(text: str, origin: str) -> PublicKey:
    r"""Read a public key in PEM (RFC 7468, "PUBLIC KEY").

    Line breaks may have become spaces or ``\n``, as they do on the way through parameters.

    Raises
    ------
    RequestError
        It is not one, or of a kind that is not supported.
    """
    pem = _PEM.fullmatch(text.replace("\\r", "").replace("\\n", "\n"))
    if pem is None:
        raise RequestError(f"{origin} is not one public key in PEM")
    try:
        content = base64.b64decode("".join(pem["base64"].split()), validate=True)
    except binascii.Error as error:
        raise RequestError(f"{origin} is a public key in PEM whose base64 is damaged") from error
    return parse_der_key(content, origin)


def parse_der_key(content: bytes, origin: str) -> PublicKey:
    """Read a public key in DER (RFC 5280, SubjectPublicKeyInfo).

    Raises
    ------
    RequestError
        It is not one, or of a kind that is not supported.
    """
    try:
        key = serialization.load_der_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RequestError(
            f"{origin} is no public key that can be read; supported are {_SUPPORTED}"
        ) from error
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return PublicKey(origin, key)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
        return PublicKey(origin, key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return PublicKey(origin, key)
    raise RequestError(f"{origin} is of a kind that is not supported; supported are {_SUPPORTED}")


def _attempts(key: _Key) -> list[Callable[[bytes, bytes], None]]:
    """List the ways in which a key may have signed; each raises InvalidSignature."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return [key.verify]
    if isinstance(key, ec.EllipticCurvePublicKey):
        return [_ecdsa(key, algorithm) for algorithm in _CURVES[key.curve.name]]
    return [
        _rsa(key, scheme, algorithm)
        for algorithm in (_SHA256, _SHA384, _SHA512)
        for scheme in (
            padding.PKCS1v15(),
            padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO),
        )
    ]


def _ecdsa(
    key: ec.EllipticCurvePublicKey, algorithm: hashes.HashAlgorithm
) -> Callable[[bytes, bytes], None]:
    return lambda signature, message: key.verify(signature, message, ec.ECDSA(algorithm))


def _rsa(
    key: rsa.RSAPublicKey, scheme: padding.AsymmetricPadding, algorithm: hashes.HashAlgorithm
) -> Callable[[bytes, bytes], None]:
    return lambda signature, message: key.verify(signature, message, scheme, algorithm)


def _passes(attempt: Callable[[bytes, bytes], None], signature: bytes, message: bytes) -> bool:
    try:
        attempt(signature, message)
    except InvalidSignature:
        return False
    return True
