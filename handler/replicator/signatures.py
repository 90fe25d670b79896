"""Whether an image is signed: cosign's signatures of its digest, by the key that was given.

cosign's "Signature Specification": payloads of simple signing as layers, each with its signature
in an annotation, in a manifest under the tag ``sha256-….sig`` or in referrers of the image. The
key's holder vouches for a digest; names in the payload are not looked at, as images move.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from replicator.errors import ContentError, InvalidManifestError, SignatureError
from replicator.manifests import ImageManifest, parse_json_object
from replicator.referrers import COSIGN_SIGNATURE, cosign_tag

if TYPE_CHECKING:
    from collections.abc import Iterator

    from replicator.caching import CachingSource
    from replicator.digests import Digest
    from replicator.manifests import Descriptor, Manifest
    from replicator.ports import ReferrerStore

_PAYLOAD_TYPE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
_REFERRER_TYPE: Final = "application/vnd.dev.cosign.artifact.sig.v1+json"
_SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
_CLAIM: Final = "cosign container image signature"
_MAX_PAYLOAD_BYTES: Final = 64 * 1024
_MAX_SIGNATURES: Final = 100


class Key(Protocol):
    """A public key."""

    @property
    def origin(self) -> str:
        """Where it comes from, for sentences."""

    def made(self, signature: bytes, message: bytes) -> bool:
        """Tell whether the signature of the message is by this key."""


class Verdict(Enum):
    """What a signature is worth."""

    VALID = "valid"
    OTHER_KEY = "by another key"
    OTHER_DIGEST = "by this key for another digest"
    MALFORMED = "malformed"


def judge(payload: bytes, signature: str, digest: Digest, key: Key) -> Verdict:
    """Judge one signature of simple signing.

    Parameters
    ----------
    payload
        The signed bytes.
    signature
        Base64.
    digest
        What it should vouch for.
    """
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return Verdict.MALFORMED
    if not key.made(raw, payload):
        return Verdict.OTHER_KEY
    try:
        claim = parse_json_object(payload, "the payload").get("critical")
    except InvalidManifestError:
        return Verdict.MALFORMED
    image = claim.get("image") if isinstance(claim, dict) else None
    if not isinstance(claim, dict) or not isinstance(image, dict) or claim.get("type") != _CLAIM:
        return Verdict.MALFORMED
    is_same = image.get("docker-manifest-digest") == str(digest)
    return Verdict.VALID if is_same else Verdict.OTHER_DIGEST


class SignatureVerifier:
    """Looks for a valid signature of an image at its source.

    Parameters
    ----------
    key
        That must have signed.
    source, store
        The image and what belongs to it.
    """

    def __init__(self, key: Key, source: CachingSource, store: ReferrerStore) -> None:
        self._key = key
        self._source = source
        self._store = store

    def verify(self, digest: Digest, name: str) -> None:
        """Return if one signature of the digest is valid.

        Parameters
        ----------
        name
            The reference, for the error's sentence.

        Raises
        ------
        SignatureError
            None is; the sentence says what was found.
        ReplicationError
            They cannot be read.
        """
        found: Counter[Verdict] = Counter()
        for layer in itertools.islice(self._layers(digest), _MAX_SIGNATURES):
            verdict = self._judge(layer, digest)
            if verdict is Verdict.VALID:
                return
            found[verdict] += 1
        listed = ", ".join(f"{count} {verdict.value}" for verdict, count in found.items())
        raise SignatureError(
            f"{name} has no valid signature of {digest} by {self._key.origin}: found "
            f"{f'{found.total()} ({listed})' if found else 'none'}; nothing was copied, sign that "
            "digest with cosign or correct VerifySignatureKey"
        )

    def _layers(self, digest: Digest) -> Iterator[Descriptor]:
        """Give the signatures under cosign's tag, and only if need be those in referrers."""
        yield from _payloads(self._store.find_tagged(cosign_tag(digest, COSIGN_SIGNATURE)))
        for referrer in self._store.list_referrers(digest, _REFERRER_TYPE).descriptors:
            yield from _payloads(self._source.fetch_manifest(referrer.digest))

    def _judge(self, layer: Descriptor, digest: Digest) -> Verdict:
        signature = layer.annotations.get(_SIGNATURE_ANNOTATION, "")
        if not signature or layer.size_bytes > _MAX_PAYLOAD_BYTES:
            return Verdict.MALFORMED
        try:
            payload = self._source.fetch_small_blob(layer)
        except ContentError:
            return Verdict.MALFORMED
        return judge(payload, signature, digest, self._key)


def _payloads(manifest: Manifest | None) -> Iterator[Descriptor]:
    if isinstance(manifest, ImageManifest):
        yield from (layer for layer in manifest.layers if layer.media_type == _PAYLOAD_TYPE)
