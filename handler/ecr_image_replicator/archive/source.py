"""A tar archive as the source of an image."""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, TypeVar

from ecr_image_replicator.archive.compression import Compression
from ecr_image_replicator.archive.docker_save import MANIFEST_NAME, names_blobs, read_stored_image
from ecr_image_replicator.archive.forward_reader import ForwardReader
from ecr_image_replicator.archive.joined_object import StartedObject
from ecr_image_replicator.archive.layers import ArchivedLayer, archived_layer
from ecr_image_replicator.archive.oci_layout import INDEX_NAME, OciLayout
from ecr_image_replicator.archive.tar_headers import shown
from ecr_image_replicator.archive.tar_index import PAGE_BYTES, TarIndex
from ecr_image_replicator.errors import (
    DigestMismatchError,
    InvalidArchiveError,
    InvalidManifestError,
)
from ecr_image_replicator.model.digests import BytesReader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from contextlib import AbstractContextManager

    from ecr_image_replicator.archive.docker_save import StoredImage
    from ecr_image_replicator.archive.tar_index import Member
    from ecr_image_replicator.copy.ports import RangedReader
    from ecr_image_replicator.model.archive_references import ArchiveReference
    from ecr_image_replicator.model.digests import ByteReader, Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest

_Item = TypeVar("_Item")
_REPOSITORIES: Final = "repositories"
_SHOWN_FILES: Final = 5


class ArchiveSource:
    """An image in a tar archive; opened when it is first asked something.

    An archive with an OCI layout is a source like a registry: manifests are read, and blobs are
    sent, as they are. What `docker save` writes otherwise has no manifest: it is a `StoredImage`
    with layers whose blobs are still to be made.

    Parameters
    ----------
    reference
        What the stack named.
    reader
        The object.
    compression
        For layers that are stored uncompressed: gzip, zstd or none.
    """

    def __init__(
        self, reference: ArchiveReference, reader: RangedReader, compression: Compression
    ) -> None:
        self._reference = reference
        self._object = reader
        self._compression = compression
        self._lock = threading.Lock()
        self._forward: ForwardReader | None = None
        self._opened: tuple[TarIndex, OciLayout | StoredImage] | None = None
        self._compressions: tuple[Compression, ...] | None = None
        self._wide_turn = threading.Lock()

    @property
    def is_sequential(self) -> bool:
        """Whether the files can be read only one after the other, as they come."""
        return self._forward is not None

    def find_digest(self) -> Digest | None:
        """Read the archive's index; a stored image has no digest before it is made."""
        content = self._open()[1]
        return content.root if isinstance(content, OciLayout) else None

    def find_stored_image(self) -> StoredImage | None:
        """Give the image that has no manifest; None when it has one."""
        content = self._open()[1]
        return None if isinstance(content, OciLayout) else content

    def fetch_manifest(self, digest: Digest | None = None) -> Manifest:
        """Read a manifest of an OCI layout."""
        content = self._open()[1]
        if isinstance(content, OciLayout):
            return content.fetch_manifest(digest)
        raise InvalidManifestError(f"the image {self._reference} has no manifest of its own")

    def expect_blobs(self, count: int) -> None:
        """Do nothing: botocore keeps S3's connections."""

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[ByteReader]:
        """Read a blob; of a stored image its config, or a layer that is a blob as it is stored."""
        try:
            with self._open_blob(descriptor) as reader:
                yield reader
        except DigestMismatchError as error:
            raise DigestMismatchError(f"in the archive {self._reference}, {error}") from error

    def _open_blob(self, descriptor: Descriptor) -> AbstractContextManager[ByteReader]:
        index, content = self._open()
        if isinstance(content, OciLayout):
            return content.open_blob(descriptor)
        if descriptor.digest == content.config_descriptor.digest:
            return nullcontext(BytesReader(content.config))
        names = {diff_id: name for name, diff_id in _files(content).items()}
        return index.open(self._find(index, names[descriptor.digest]))

    def layer_compressions(self) -> tuple[Compression, ...]:
        """Say how the blob of each of a stored image's layers is, or will be, compressed.

        In an archive that is read only forward, layers that were not reached yet are taken to be
        stored as the next one is, and links to lead to uncompressed ones, as in what Docker wrote;
        what was said once stays so, as asking again would read further.
        """
        if self._compressions is None:
            self._compressions = self._find_compressions()
        return self._compressions

    def find_layers(self, wanted: Collection[Digest]) -> Iterator[ArchivedLayer]:
        """Give a stored image's layers, as they come in an archive that is read only forward.

        Parameters
        ----------
        wanted
            Their diff_ids; equal layers are given once.

        Raises
        ------
        InvalidArchiveError
            A layer is missing, or cannot be a layer.
        """
        index, image = self._open_stored()
        files = {name: diff_id for name, diff_id in _files(image).items() if diff_id in wanted}
        for member, diff_id in self._members(index, files):
            yield self._layer(index, member, diff_id)

    def find_layers_at_hand(self) -> tuple[ArchivedLayer, ...] | None:
        """Give a stored image's layers; None when that would mean to read them."""
        index, image = self._open_stored()
        if self.is_sequential and not index.is_read:
            return None
        return tuple(self.find_layers(image.diff_ids))

    def in_turn(self, blobs: Collection[Descriptor]) -> Iterator[Descriptor]:
        """Give blobs as they come in the archive, reading on for them."""
        index, content = self._open()
        if isinstance(content, OciLayout):
            files = {content.file_of(blob): blob for blob in blobs}
        else:
            by_digest = {blob.digest: blob for blob in blobs}
            names = _files(content)
            files = {name: by_digest[names[name]] for name in names if names[name] in by_digest}
            stored = set(names.values())
            yield from (blob for blob in blobs if blob.digest not in stored)  # the config
        for _, blob in self._members(index, files):
            yield blob

    def close(self) -> None:
        """Stop reading."""
        if self._forward is not None:
            self._forward.close()

    def _find_compressions(self) -> tuple[Compression, ...]:
        index, image = self._open_stored()
        members: list[Member | None] = []
        if self.is_sequential:
            reached = set(index.names())
            unreached = set(image.layers) - reached
            following = index.find_first(unreached) if unreached else None
            for name in image.layers:
                member = following if name in unreached else index.find_first({name})
                members.append(None if member is not None and member.target else member)
        else:
            members += [self._find(index, name) for name in image.layers]
        return tuple(
            self._layer(index, member, diff_id).compression if member else self._compression
            for member, diff_id in zip(members, image.diff_ids, strict=True)
        )

    def _members(
        self, index: TarIndex, files: Mapping[str, _Item]
    ) -> Iterator[tuple[Member, _Item]]:
        """Find each item's file; those that are passed on the way forward first."""
        wanted, found = set(files.values()), set[_Item]()
        if self.is_sequential:
            for member in index.in_order():
                item = files.get(member.name)
                if item is not None and not member.target and item not in found:
                    found.add(item)
                    yield member, item
                if found == wanted:
                    return
        for name, item in files.items():
            if item not in found:
                found.add(item)
                yield self._find(index, name), item

    def _find(self, index: TarIndex, name: str) -> Member:
        member = index.find(name)
        if member is None:
            raise InvalidArchiveError(
                f"the archive {self._reference.location} lacks {shown(name)}, which its image "
                "refers to; it was written incompletely or cut off"
            )
        return member

    def _open(self) -> tuple[TarIndex, OciLayout | StoredImage]:
        with self._lock:
            if self._opened is None:
                index = TarIndex(self._uncompressed(), self._reference.location)
                self._opened = (index, self._read(index))
            return self._opened

    def _open_stored(self) -> tuple[TarIndex, StoredImage]:
        index, content = self._open()
        if isinstance(content, OciLayout):
            raise InvalidManifestError(f"the image {self._reference} has a manifest of its own")
        return index, content

    def _layer(self, index: TarIndex, member: Member, diff_id: Digest) -> ArchivedLayer:
        location = self._reference.location
        return archived_layer(index, location, member, diff_id, self._compression, self._wide_turn)

    def _uncompressed(self) -> RangedReader:
        head = self._object.read_range(0, PAGE_BYTES)
        started = StartedObject(self._object, head)
        compression = Compression.of(head)
        if compression is Compression.NONE:
            return started
        self._forward = ForwardReader(started, compression, self._reference.location)
        return self._forward

    def _read(self, index: TarIndex) -> OciLayout | StoredImage:
        first = index.find_first({INDEX_NAME, MANIFEST_NAME})
        if first is None:
            raise InvalidArchiveError(self._no_image(index.names()))
        if first.name == INDEX_NAME or names_blobs(index, first):
            return OciLayout.read(index, self._reference)
        return read_stored_image(index, self._reference)

    def _no_image(self, names: list[str]) -> str:
        if _REPOSITORIES in names:
            found = "it was written by a Docker older than 1.10; save the image again"
        else:
            count = f"{len(names)} file{'s' if len(names) != 1 else ''}"
            listed = ", ".join(map(shown, names[:_SHOWN_FILES]))
            found = f"it holds {count}{f', the first {listed}' if names else ''}"
        return (
            f"the archive {self._reference.location} holds no image: neither {MANIFEST_NAME} nor "
            f"{INDEX_NAME} is in it; {found}"
        )


def _files(image: StoredImage) -> dict[str, Digest]:
    """Give the diff_id of each layer's file."""
    return dict(zip(image.layers, image.diff_ids, strict=True))
