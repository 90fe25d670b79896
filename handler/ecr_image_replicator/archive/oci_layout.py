"""An OCI layout in an archive: index.json, and blobs by their digests.

OCI image specification 1.1, "Image Layout Specification".
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.archive.choice import Candidate, choose, find_fitting
from ecr_image_replicator.archive.layer_proofs import has_verified_layers, verify_layer
from ecr_image_replicator.archive.tar_headers import quote
from ecr_image_replicator.errors import (
    ContentError,
    DigestMismatchError,
    InvalidArchiveError,
    InvalidManifestError,
    PlatformNotFoundError,
)
from ecr_image_replicator.model.digests import BytesReader, Digest
from ecr_image_replicator.model.manifests import (
    INDEX_MEDIA_TYPES,
    MANIFEST_MEDIA_TYPES,
    OCI_INDEX,
    ImageIndex,
    ImageManifest,
    parse_config_diff_ids,
    parse_json_object,
    parse_manifest,
)
from ecr_image_replicator.model.tag_patterns import is_digest_tag

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from ecr_image_replicator.archive.tar_index import Member, TarIndex
    from ecr_image_replicator.model.archive_references import ArchiveReference
    from ecr_image_replicator.model.digests import ByteReader
    from ecr_image_replicator.model.manifests import Descriptor, Manifest

INDEX_NAME: Final = "index.json"
_REFERENCE_NAME: Final = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME: Final = "io.containerd.image.name"
#: `cosign save` and hauler mark the entries of index.json; these are no images:
#: ``dev.cosignproject.cosign/sigs``, ``dev.hauler/referrers/…``.
_KIND: Final = "kind"
_ARTIFACT_KINDS: Final = frozenset({"sigs", "atts", "sboms", "referrers"})
_BUFFER_BYTES: Final = 256 * 1024
#: Of manifests; the others are read again.
_MAX_KEPT_BYTES: Final = 8 * 1024 * 1024


def blob_name(digest: Digest) -> str:
    """Return the name of the file that holds a blob."""
    return f"blobs/{digest.algorithm}/{digest.encoded}"


class LayoutIndex:
    """The images that index.json lists.

    Parameters
    ----------
    index
        The archive's files.
    reference
        The image that is meant; its location is named in errors.
    """

    def __init__(self, index: TarIndex, reference: ArchiveReference) -> None:
        self._index = index
        self._reference = reference
        member = index.find(INDEX_NAME)
        if member is None:
            raise index.invalid(f"no {INDEX_NAME} found")
        self._content = index.read(member)
        try:
            self._top = self._parse()
        except ContentError as error:
            raise index.invalid(f"{INDEX_NAME}: {error}") from error
        self.candidates: Final = _candidates(_images(self._top))

    def _parse(self) -> ImageIndex:
        content = self._content
        if parse_json_object(content, INDEX_NAME).get("manifests", "") is None:
            content = b'{"manifests":[]}'  # Docker 25 writes null when it saves by digest
        top = parse_manifest(content, OCI_INDEX)
        if not isinstance(top, ImageIndex):
            raise ContentError("not an image index")
        return top

    def choose(self) -> OciLayout:
        """Return the image that the reference means.

        An index.json that lists only the platforms of one image is an image index itself. A
        reference without a selector does not mean signatures and lists of referrers.

        Raises
        ------
        ImageNotFoundError
            The reference matches no image, or several.
        InvalidArchiveError
            index.json lists no image.
        """
        if not self.candidates:
            raise self._index.invalid(f"no image found in {INDEX_NAME}")
        if (whole := self._as_one_image()) is not None:
            return whole
        images = [each for each in self.candidates if not _is_named_by_digest(each)]
        if self._reference.selector is None and len(images) == 1:
            return self._open(images[0].image)
        return self._open(choose(self.candidates, self._reference))

    def find_with_config(self, config: Digest) -> OciLayout | None:
        """Return the image or index that has a config; those that the reference means first."""
        if (whole := self._as_one_image()) is not None:
            return whole if whole.has_config(config) else None
        fitting = find_fitting(self.candidates, self._reference.selector)
        rest = [each for each in self.candidates if each not in fitting]
        for candidate in (*fitting, *rest):
            layout = self._open(candidate.image)
            if layout.has_config(config):
                return layout
        return None

    def _as_one_image(self) -> OciLayout | None:
        fitting = find_fitting(self.candidates, self._reference.selector)
        if len(fitting) == len(self._top.manifests) > 1 and _is_one_image(self.candidates):
            known = {self._top.digest: self._content}
            return OciLayout(self._index, self._reference, self._top.digest, OCI_INDEX, known)
        return None

    def _open(self, root: Descriptor) -> OciLayout:
        return OciLayout(self._index, self._reference, root.digest, root.media_type, {})


class OciLayout:
    """One image or image index of an OCI layout.

    Parameters
    ----------
    index
        The archive's files.
    reference
        Named in errors.
    root, media_type
        Of its manifest or index.
    known
        Manifests that are not blobs of the layout.
    """

    def __init__(
        self,
        index: TarIndex,
        reference: ArchiveReference,
        root: Digest,
        media_type: str,
        known: dict[Digest, bytes],
    ) -> None:
        self._index = index
        self._reference = reference
        self.root: Final = root
        self._media_type = media_type
        self._manifests = known
        self._lock = threading.Lock()
        self._verified: set[Digest] = set()
        self._embedded: dict[Digest, bytes] = {}

    @property
    def is_index(self) -> bool:
        """Whether the root is an image index."""
        return self._media_type in INDEX_MEDIA_TYPES

    def fetch_manifest(self, digest: Digest | None) -> Manifest:
        """Read a manifest or an index, verified; the root by default.

        A manifest that says that this program has verified its layers is believed later, so its
        layers are verified here.

        Raises
        ------
        DigestMismatchError
            The file does not match its digest.
        InvalidArchiveError
            The manifest is missing or malformed.
        PlatformNotFoundError
            The manifest is missing, and the index has other platforms' images.
        """
        manifest = self._parse(digest or self.root)
        if isinstance(manifest, ImageManifest) and manifest.digest not in self._verified:
            for blob in (manifest.config, *manifest.layers):
                if blob.data is not None:
                    self._embedded[blob.digest] = blob.data
            if has_verified_layers(manifest):
                self._verify_layers(manifest)
            self._verified.add(manifest.digest)
        return manifest

    def find_digest(self) -> Digest:
        """Return the root's digest, after verifying what `fetch_manifest` verifies."""
        if not self.is_index:
            self.fetch_manifest(None)
        return self.root

    def has_config(self, config: Digest) -> bool:
        """Return whether the image, or one of the index that is in the archive, has a config."""
        try:
            root = self._parse(self.root)
            if isinstance(root, ImageManifest):
                return root.config.digest == config
            children = [self._parse(child.digest) for child in self._available(root)]
        except ContentError:
            return False
        return any(isinstance(m, ImageManifest) and m.config.digest == config for m in children)

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[ByteReader]:
        """Read a blob from its first byte."""
        if not self.is_file(descriptor):
            return nullcontext(BytesReader(self._embedded[descriptor.digest]))
        name = blob_name(descriptor.digest)
        member = self._index.find(name)
        if member is None:
            raise self._index.missing(name)
        if member.size_bytes != descriptor.size_bytes:
            raise DigestMismatchError(
                f"invalid archive {self._reference.location}: ",
                f"digest mismatch: the blob {descriptor.digest} has {member.size_bytes} bytes, "
                f"expected {descriptor.size_bytes}",
            )
        return self._index.open(member)

    def holds_layer(self, layer: Descriptor, diff_id: Digest) -> bool:
        """Read a layer's blob and return whether it holds this layer."""
        try:
            with self.open_blob(layer) as reader:
                verify_layer(reader, layer, diff_id, memoryview(bytearray(_BUFFER_BYTES)))
        except ContentError:
            return False
        return True

    def is_file(self, descriptor: Descriptor) -> bool:
        """Return whether a blob is read from its file, not from the `data` of its descriptor."""
        return descriptor.digest not in self._embedded

    def _parse(self, digest: Digest) -> Manifest:
        content = self._manifests.get(digest)
        if content is None:
            member = self._index.find(blob_name(digest))
            if member is None:
                raise self._missing_manifest(digest)
            content = self._read(member, digest)
            with self._lock:  # manifests are read in parallel
                if sum(map(len, self._manifests.values())) < _MAX_KEPT_BYTES:
                    self._manifests[digest] = content
        try:
            return parse_manifest(content, self._media_type if digest == self.root else "")
        except InvalidManifestError as error:
            raise self._malformed(digest, error) from error

    def _read(self, member: Member, digest: Digest) -> bytes:
        content = self._index.read(member)
        found = Digest.of(content, digest.algorithm)
        if found != digest:
            raise DigestMismatchError(
                f"invalid archive {self._reference.location}: digest mismatch: expected {digest} "
                f"in {quote(member.name)}, got {found}"
            )
        return content

    def _verify_layers(self, manifest: ImageManifest) -> None:
        with self.open_blob(manifest.config) as reader:
            config = b"".join(iter(lambda: _read_piece(reader), b""))
        if not manifest.config.digest.names(config):
            raise self._index.invalid(f"digest mismatch: the config {manifest.config.digest}")
        try:
            diff_ids = parse_config_diff_ids(config)
        except ContentError as error:
            raise self._malformed(manifest.config.digest, error) from error
        if len(diff_ids) != len(manifest.layers):
            raise self._index.invalid(
                f"the manifest {manifest.digest} has {len(manifest.layers)} layers and its config "
                f"has {len(diff_ids)}"
            )
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        for diff_id, layer in zip(diff_ids, manifest.layers, strict=True):
            try:
                with self.open_blob(layer) as reader:
                    verify_layer(reader, layer, diff_id, buffer)
            except DigestMismatchError as error:
                raise self._index.invalid(str(error)) from error

    def _available(self, root: Manifest) -> Sequence[Descriptor]:
        """Return the children of an index that are in the archive."""
        if not isinstance(root, ImageIndex):
            return ()
        return [each for each in root.manifests if self._index.find(blob_name(each.digest))]

    def _missing_manifest(self, digest: Digest) -> ContentError | PlatformNotFoundError:
        """Describe a manifest that is missing: `docker save` leaves out platforms it lacks."""
        root = self._parse(self.root) if digest != self.root else None
        child = next(
            (each for each in getattr(root, "manifests", ()) if each.digest == digest), None
        )
        if root is None or child is None or child.platform is None:
            return self._index.missing(blob_name(digest))
        platforms = [
            each.platform.full_name
            for each in self._available(root)
            if each.platform and each.platform.is_runnable
        ]
        return PlatformNotFoundError(
            f"cannot read {self._reference}: platform {child.platform.full_name} not found: its "
            f"index names the platform, but the archive does not hold its image; it holds "
            f"{', '.join(platforms) or 'no platform'}",
            hint=f"Save the image again with docker save --platform {child.platform.full_name}.",
        )

    def _malformed(self, digest: Digest, error: ContentError) -> InvalidArchiveError:
        return self._index.invalid(f"{quote(blob_name(digest))}: ", *error.message, hint=error.hint)


def _read_piece(reader: ByteReader) -> bytes:
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    return bytes(buffer[: reader.readinto(buffer)])


def _images(top: ImageIndex) -> Sequence[Descriptor]:
    """Return the images and image indexes, without signatures and other artifacts."""
    manifests = [
        entry
        for entry in top.manifests
        if entry.media_type in MANIFEST_MEDIA_TYPES | INDEX_MEDIA_TYPES
        and not _ARTIFACT_KINDS.intersection(entry.annotations.get(_KIND, "").split("/"))
    ]
    return [entry for entry in manifests if not entry.artifact_type] or manifests


def _candidates(entries: Sequence[Descriptor]) -> list[Candidate[Descriptor]]:
    """List each image once with all its names; Docker lists it once under each name."""
    first: dict[Digest, Descriptor] = {}
    names: dict[Digest, list[str]] = {}
    for entry in entries:
        first.setdefault(entry.digest, entry)
        names.setdefault(entry.digest, []).extend(_names(entry))
    return [
        Candidate(tuple(dict.fromkeys(names[digest])), entry) for digest, entry in first.items()
    ]


def _names(entry: Descriptor) -> tuple[str, ...]:
    names = (entry.annotations.get(key, "") for key in (_CONTAINERD_NAME, _REFERENCE_NAME))
    return tuple(dict.fromkeys(filter(None, names)))


def _is_named_by_digest(candidate: Candidate[Descriptor]) -> bool:
    """Return whether an entry is named as signatures or lists of referrers are, as by regctl."""
    tags = [name.rpartition(":")[2] for name in candidate.names]
    return bool(tags) and all(map(is_digest_tag, tags))


def _is_one_image(candidates: Sequence[Candidate[Descriptor]]) -> bool:
    """Return whether these are one image's platforms: all different, under one name or none."""
    images = [
        each for each in candidates if each.image.platform and each.image.platform.os != "unknown"
    ]
    platforms = {each.image.platform for each in images}
    unnamed = [each for each in candidates if each not in images]
    return (
        len(platforms) == len(images) > 0
        and len({each.names for each in images}) == 1
        and all(each.image.platform is not None for each in unnamed)
    )
