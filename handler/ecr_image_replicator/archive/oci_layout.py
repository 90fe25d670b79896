"""An OCI layout in an archive: index.json, and blobs by their digests.

OCI image specification 1.1, "Image Layout Specification".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.archive.choice import Candidate, choose, find_fitting
from ecr_image_replicator.errors import ContentError, DigestMismatchError, InvalidArchiveError
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import (
    INDEX_MEDIA_TYPES,
    MANIFEST_MEDIA_TYPES,
    OCI_INDEX,
    ImageIndex,
    parse_manifest,
)

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


def blob_name(digest: Digest) -> str:
    """Give the file that holds a blob."""
    return f"blobs/{digest.algorithm}/{digest.encoded}"


@dataclass(frozen=True, slots=True)
class OciLayout:
    """The image that a reference means, in an OCI layout.

    Attributes
    ----------
    root
        The digest of its manifest or index.
    media_type
        Of the same, as index.json has it.
    top
        index.json itself, when it is the index that is meant; None otherwise.
    """

    index: TarIndex
    location: str
    root: Digest
    media_type: str
    top: bytes | None = None

    @classmethod
    def read(cls, index: TarIndex, reference: ArchiveReference) -> OciLayout:
        """Read index.json and find the image there.

        An index.json that lists nothing but the platforms of one image is an index itself.

        Raises
        ------
        ImageNotFoundError
            The reference fits none of the images, or several.
        InvalidArchiveError
            index.json is malformed.
        """
        location = reference.location
        member = index.find(INDEX_NAME)
        if member is None:
            raise InvalidArchiveError(f"the archive {location} has no {INDEX_NAME}")
        content = index.read(member)
        try:
            top = parse_manifest(content, OCI_INDEX)
        except ContentError as error:
            raise InvalidArchiveError(
                f"the archive {location} cannot be used: its {INDEX_NAME} is malformed: {error}"
            ) from error
        entries = _images(top)
        if not entries or not isinstance(top, ImageIndex):
            raise InvalidArchiveError(f"the archive {location} holds no image in its {INDEX_NAME}")
        candidates = _candidates(entries)
        fitting = find_fitting(candidates, reference.selector)
        if len(fitting) == len(top.manifests) > 1 and _is_one_image(candidates):
            return cls(index, location, top.digest, OCI_INDEX, content)
        chosen = choose(candidates, reference)
        return cls(index, location, chosen.digest, chosen.media_type)

    def fetch_manifest(self, digest: Digest | None) -> Manifest:
        """Read a manifest or index, verified.

        Raises
        ------
        DigestMismatchError
            The blob is not what its name says.
        InvalidArchiveError
            It is missing.
        """
        wanted = digest or self.root
        if self.top is not None and wanted == self.root:
            return parse_manifest(self.top, OCI_INDEX)
        content = self.index.read(self._find(wanted, "manifest"))
        found = Digest.of(content, wanted.algorithm)
        if found != wanted:
            raise DigestMismatchError(
                f"the manifest {wanted} in the archive {self.location} hashes to {found}; the "
                "archive is corrupt or was tampered with"
            )
        return parse_manifest(content, self.media_type if wanted == self.root else "")

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[ByteReader]:
        """Read a blob from its first byte."""
        member = self._find(descriptor.digest, "blob")
        if member.size_bytes != descriptor.size_bytes:
            raise DigestMismatchError(
                f"the blob {descriptor.digest} has {member.size_bytes} bytes where the manifest "
                f"says {descriptor.size_bytes}; the archive is corrupt or was tampered with"
            )
        return self.index.open(member)

    def file_of(self, descriptor: Descriptor) -> str:
        """Name the file that holds a blob."""
        return blob_name(descriptor.digest)

    def _find(self, digest: Digest, what: str) -> Member:
        member = self.index.find(blob_name(digest))
        if member is None:
            raise InvalidArchiveError(
                f"the archive {self.location} lacks the {what} {digest}, which its image refers "
                "to; it was written incompletely or cut off"
            )
        return member


def _images(top: Manifest) -> Sequence[Descriptor]:
    """List what is an image or an index of images, signatures and other artifacts left out."""
    if not isinstance(top, ImageIndex):
        return ()
    of_a_kind = [
        entry
        for entry in top.manifests
        if entry.media_type in MANIFEST_MEDIA_TYPES | INDEX_MEDIA_TYPES
    ]
    return [entry for entry in of_a_kind if not entry.artifact_type] or of_a_kind


def _candidates(entries: Sequence[Descriptor]) -> list[Candidate[Descriptor]]:
    """List the images; one that is listed under each of its names, as Docker does, is one."""
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


def _is_one_image(candidates: Sequence[Candidate[Descriptor]]) -> bool:
    """Tell whether these are one image's platforms: all different, under one name or none."""
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
