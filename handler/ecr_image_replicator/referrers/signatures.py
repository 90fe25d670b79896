"""Verification of an image's signatures where cosign stores them.

They are layers of a manifest under the tag ``sha256-….sig`` (cosign's "Signature Specification"),
or of referrers: the same layers, or a bundle (cosign's "Bundle Specification").
"""

from __future__ import annotations

import itertools
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import ContentError, NotFoundError, Setting, SignatureError
from ecr_image_replicator.model.manifests import ImageManifest
from ecr_image_replicator.referrers.copying import COSIGN_SIGNATURE, cosign_tag
from ecr_image_replicator.referrers.cosign import (
    SIGNATURE_PREDICATE,
    SignatureStatus,
    verify_bundle,
    verify_simple_signing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ecr_image_replicator.copy.cache import CachingSource
    from ecr_image_replicator.copy.ports import ReferrerStore
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest
    from ecr_image_replicator.referrers.cosign import Key

_SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
#: The bundles of earlier versions of the format.
_OLD_BUNDLE: Final = "application/vnd.dev.sigstore.bundle+json"
_REFERRER_TYPES: Final = ("application/vnd.dev.cosign.artifact.sig.v1+json", _BUNDLE)
_SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
_PREDICATE_ANNOTATION: Final = "dev.sigstore.bundle.predicateType"
_MAX_CLAIM_BYTES: Final = 128 * 1024
_MAX_SIGNATURES: Final = 100


class SignatureVerifier:
    """Verifies that an image at the source has a valid signature.

    Parameters
    ----------
    key
        The public key.
    source, store
        Read the image's repository and its referrers.
    """

    def __init__(self, key: Key, source: CachingSource, store: ReferrerStore) -> None:
        self._key = key
        self._source = source
        self._store = store

    def verify(self, digest: Digest, name: str) -> None:
        """Return if at least one signature of the digest is valid.

        Parameters
        ----------
        name
            The reference, for the message.

        Raises
        ------
        SignatureError
            No signature is valid; the message lists what was found.
        ReplicationError
            The signatures cannot be read.
        """
        found: Counter[SignatureStatus] = Counter()
        for status in itertools.islice(self._statuses(digest), _MAX_SIGNATURES):
            if status is SignatureStatus.VALID:
                return
            if status is not None:
                found[status] += 1
        listed = ", ".join(f"{count} {status.value}" for status, count in found.items())
        raise SignatureError(
            f"cannot verify {name}: no valid signature of {digest} by ",
            self._key.origin,
            f" (found {listed or 'no signature'})",
            hint=("Sign that digest with cosign, or correct ", Setting.VERIFY_SIGNATURE_KEY, "."),
        )

    def _statuses(self, digest: Digest) -> Iterator[SignatureStatus | None]:
        """Verify the signatures under cosign's tag, then those in referrers."""
        tag = cosign_tag(digest, COSIGN_SIGNATURE)
        yield from self._verify_all(partial(self._store.find_tagged, tag), digest)
        seen: set[Digest] = set()
        for kind in _REFERRER_TYPES:
            for referrer in self._store.list_referrers(digest, kind).descriptors:
                predicate = referrer.annotations.get(_PREDICATE_ANNOTATION, SIGNATURE_PREDICATE)
                if referrer.digest not in seen and predicate == SIGNATURE_PREDICATE:
                    seen.add(referrer.digest)
                    read = partial(self._source.fetch_manifest, referrer.digest)
                    yield from self._verify_all(read, digest)

    def _verify_all(
        self, read: Callable[[], Manifest | None], digest: Digest
    ) -> Iterator[SignatureStatus | None]:
        """Verify the signatures in a manifest; a list of referrers may name deleted ones."""
        try:
            manifest = read()
        except (ContentError, NotFoundError):
            yield SignatureStatus.UNREADABLE
            return
        for layer in _claims(manifest):
            yield self._verify_one(layer, digest)

    def _verify_one(self, layer: Descriptor, digest: Digest) -> SignatureStatus | None:
        if layer.size_bytes > _MAX_CLAIM_BYTES:
            return SignatureStatus.MALFORMED
        try:
            content = self._source.fetch_small_blob(layer)
        except ContentError:
            return SignatureStatus.MALFORMED
        except NotFoundError:
            return SignatureStatus.UNREADABLE
        if _is_bundle(layer):
            return verify_bundle(content, digest, self._key)
        signature = layer.annotations.get(_SIGNATURE_ANNOTATION, "")
        return verify_simple_signing(content, signature, digest, self._key)


def _claims(manifest: Manifest | None) -> Iterator[Descriptor]:
    if isinstance(manifest, ImageManifest):
        yield from (
            layer
            for layer in manifest.layers
            if layer.media_type == _SIMPLE_SIGNING or _is_bundle(layer)
        )


def _is_bundle(layer: Descriptor) -> bool:
    return layer.media_type == _BUNDLE or layer.media_type.startswith(_OLD_BUNDLE)
