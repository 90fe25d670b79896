"""Public keys for the verification of signatures; the only module that imports `cryptography`.

Import it only when a signature is verified: loading `cryptography` is slow.
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

from ecr_image_replicator.errors import RequestError, Setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecr_image_replicator.errors import Part

_PEM: Final = re.compile(
    r"\s*-----BEGIN PUBLIC KEY-----(?P<base64>[A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*"
)
_MIN_RSA_BITS: Final = 2048
_SUPPORTED: Final = "ECDSA on P-256, P-384 or P-521, RSA of at least 2048 bits, or Ed25519"
_SETTING: Final = Setting.VERIFY_SIGNATURE_KEY
_SHA256, _SHA384, _SHA512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()
#: cosign signs with SHA-256 for every key; KMS and newer cosign versions use the curve's own hash.
_CURVES: Final[dict[str, tuple[hashes.HashAlgorithm, ...]]] = {
    "secp256r1": (_SHA256,),
    "secp384r1": (_SHA384, _SHA256),
    "secp521r1": (_SHA512, _SHA256),
}
_Key = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key.

    Attributes
    ----------
    origin
        Where it comes from, for messages.
    """

    origin: Part
    _key: _Key = field(repr=False)

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Return whether the signature of the message is by this key.

        ECDSA signatures are ASN.1 (X9.62), RSA signatures PKCS #1 v1.5 or PSS (RFC 8017), Ed25519
        signatures those of RFC 8032.
        """
        return any(_passes(attempt, signature, message) for attempt in _attempts(self._key))


def parse_pem_key(text: str) -> PublicKey:
    r"""Parse a PEM public key (RFC 7468, "PUBLIC KEY").

    Line breaks may have become spaces or ``\n`` in stack parameters.

    Raises
    ------
    RequestError
        It is malformed, or its type is not supported.
    """
    pem = _PEM.fullmatch(text.replace("\\r", "").replace("\\n", "\n"))
    if pem is None:
        raise _invalid(_SETTING, "the value is not a single PEM public key")
    try:
        content = base64.b64decode("".join(pem["base64"].split()), validate=True)
    except binascii.Error as error:
        raise _invalid(_SETTING, "the base64 of the PEM public key is damaged") from error
    return parse_der_key(content, _SETTING)


def parse_der_key(content: bytes, origin: Part) -> PublicKey:
    """Parse a DER public key (RFC 5280, SubjectPublicKeyInfo).

    Raises
    ------
    RequestError
        It is malformed, or its type is not supported.
    """
    try:
        key = serialization.load_der_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _invalid(origin, "the public key cannot be read") from error
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return PublicKey(origin, key)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
        return PublicKey(origin, key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return PublicKey(origin, key)
    raise _invalid(origin, "the type of the public key is not supported")


def _invalid(origin: Part, reason: str) -> RequestError:
    return RequestError("invalid ", origin, f": {reason}", hint=f"Use {_SUPPORTED}.")


def _attempts(key: _Key) -> list[Callable[[bytes, bytes], None]]:
    """Return the verifications of each signature scheme; each raises InvalidSignature."""
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
