"""Verification of cosign's two signature formats with a key; pure, no I/O.

Simple signing: cosign's "Signature Specification", payload and signature apart. Bundles: cosign's
"Bundle Specification", a DSSE envelope around an in-toto statement. The digest is verified; names
in the payload are ignored, because images are copied.
"""

from __future__ import annotations

import base64
import binascii
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol

from ecr_image_replicator.errors import InvalidManifestError
from ecr_image_replicator.model.manifests import parse_json_object

if TYPE_CHECKING:
    from ecr_image_replicator.errors import Part
    from ecr_image_replicator.model.digests import Digest

_SIMPLE_SIGNING_CLAIM: Final = "cosign container image signature"
#: The predicate of a signature; other predicates are attestations.
SIGNATURE_PREDICATE: Final = "https://sigstore.dev/cosign/sign/v1"
_STATEMENT_TYPE: Final = "application/vnd.in-toto+json"


class Key(Protocol):
    """A public key."""

    @property
    def origin(self) -> Part:
        """Where it comes from, for messages."""

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Return whether the signature of the message is by this key."""


class SignatureStatus(Enum):
    """The result of a verification."""

    VALID = "valid"
    OTHER_KEY = "by another key"
    OTHER_DIGEST = "by this key for another digest"
    MALFORMED = "malformed"
    UNREADABLE = "that cannot be read"


def verify_simple_signing(
    payload: bytes, signature: str, digest: Digest, key: Key
) -> SignatureStatus:
    """Verify one signature of simple signing.

    Parameters
    ----------
    payload
        The signed bytes.
    signature
        Base64.
    digest
        The expected digest.
    """
    raw = _decode(signature)
    if not raw:
        return SignatureStatus.MALFORMED
    if not key.verify(raw, payload):
        return SignatureStatus.OTHER_KEY
    claim = _object(payload).get("critical")
    image = claim.get("image") if isinstance(claim, dict) else None
    if not isinstance(claim, dict) or not isinstance(image, dict):
        return SignatureStatus.MALFORMED
    if claim.get("type") != _SIMPLE_SIGNING_CLAIM:
        return SignatureStatus.MALFORMED
    is_same = image.get("docker-manifest-digest") == str(digest)
    return SignatureStatus.VALID if is_same else SignatureStatus.OTHER_DIGEST


def verify_bundle(content: bytes, digest: Digest, key: Key) -> SignatureStatus | None:
    """Verify a bundle; return None for an attestation.

    DSSE 1.0: the signature covers the payload's type and body with their lengths. in-toto
    Statement 1: the digest is that of one of the subjects.

    Parameters
    ----------
    content
        JSON.
    digest
        The expected digest.
    """
    envelope = _object(content).get("dsseEnvelope")
    if not isinstance(envelope, dict):
        return SignatureStatus.MALFORMED
    body, kind = _decode(envelope.get("payload")), envelope.get("payloadType")
    statement = _object(body)
    if kind != _STATEMENT_TYPE or not statement:
        return SignatureStatus.MALFORMED
    if statement.get("predicateType") != SIGNATURE_PREDICATE:
        return None
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body), body)
    signatures = [_decode(each.get("sig")) for each in _objects(envelope.get("signatures"))]
    if not any(raw and key.verify(raw, message) for raw in signatures):
        return SignatureStatus.OTHER_KEY if any(signatures) else SignatureStatus.MALFORMED
    subjects = [each.get("digest") for each in _objects(statement.get("subject"))]
    is_same = any(
        isinstance(each, dict) and each.get(digest.algorithm) == digest.encoded for each in subjects
    )
    return SignatureStatus.VALID if is_same else SignatureStatus.OTHER_DIGEST


def _decode(text: object) -> bytes:
    """Decode base64 of either alphabet; return b"" if it is malformed."""
    if not isinstance(text, str):
        return b""
    try:
        return base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _object(content: bytes) -> dict[str, Any]:
    """Parse a JSON object strictly; return an empty one if it is malformed."""
    try:
        return parse_json_object(content, "the claim")
    except InvalidManifestError:
        return {}


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
