"""A tar archive as the source of an image."""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, TypeVar

from ecr_image_replicator.archive.compression import SAVE_AGAIN, Compression
from ecr_image_replicator.archive.contents import read_contents, uncompressed_layers
from ecr_image_replicator.archive.forward_reader import ForwardReader
from ecr_image_replicator.archive.layers import ArchivedLayer, find_archived_layer
from ecr_image_replicator.archive.object_start import StartedObject
from ecr_image_replicator.archive.oci_layout import OciLayout, blob_name
from ecr_image_replicator.archive.tar_index import PAGE_BYTES, TarIndex
from ecr_image_replicator.errors import DigestMismatchError, InvalidManifestError
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


class ArchiveSource:
    """An image in a tar archive, which is opened when it is first used.

    An image of an OCI layout is read like an image in a registry: manifests and blobs are copied
    as they are. Other images of `docker save` have no usable manifest: each is a `StoredImage`, of
    whose layers blobs are made while they are sent.

    Parameters
    ----------
    reference
        Names the object and the image in it.
    reader
        Reads the object.
    compression
        For layers that are stored uncompressed: gzip, zstd or none.
    """

    def __init__(
        self, reference: ArchiveReference, reader: RangedReader, compression: Compression
    ) -> None:
        self._reference: Final = reference
        self._object: Final = reader
        self._compression: Final = compression
        self._lock = threading.Lock()
        self._forward: ForwardReader | None = None
        self._index: TarIndex | None = None
        self._content: OciLayout | StoredImage | None = None
        self._compressions: tuple[Compression, ...] | None = None
        self._wide_window = threading.Lock()

    @property
    def is_sequential(self) -> bool:
        """Whether the archive is compressed as a whole, so that it can only be read forward."""
        return self._forward is not None

    def find_digest(self) -> Digest | None:
        """Read the archive's index and return the image's digest; None for a stored image."""
        content = self._open()[1]
        return content.find_digest() if isinstance(content, OciLayout) else None

    def find_stored_image(self) -> StoredImage | None:
        """Return the image whose manifest has to be built; None when it has a manifest."""
        content = self._open()[1]
        return None if isinstance(content, OciLayout) else content

    def rebuild(self, manifest: Manifest) -> StoredImage | None:
        """Return the stored image of one platform, if its layers are to be compressed.

        That is an image that was chosen from the index of a `docker save` archive and has
        uncompressed layers; None for any other manifest. From then on this source is that image.
        """
        index, content = self._open()
        if not isinstance(content, OciLayout) or self._compression is Compression.NONE:
            return None
        image = uncompressed_layers(index, manifest)
        if image is not None:
            with self._lock:
                self._content = image
        return image

    def fetch_manifest(self, digest: Digest | None = None) -> Manifest:
        """Read a manifest of an OCI layout."""
        content = self._open()[1]
        if isinstance(content, OciLayout):
            return content.fetch_manifest(digest)
        raise InvalidManifestError(f"invalid manifest: {self._reference} has none")

    def expect_blobs(self, count: int) -> None:
        """Do nothing: botocore keeps the connections to S3."""

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[ByteReader]:
        """Read a blob; of a stored image the config, or a layer that is pushed as it is stored."""
        try:
            with self._open_blob(descriptor) as reader:
                yield reader
        except DigestMismatchError as error:
            if error.message[0] == self._prefix:
                raise
            raise DigestMismatchError(self._prefix, *error.message, hint=SAVE_AGAIN) from error

    @property
    def _prefix(self) -> str:
        return f"invalid archive {self._reference.location}: "

    def _open_blob(self, descriptor: Descriptor) -> AbstractContextManager[ByteReader]:
        index, content = self._open()
        if isinstance(content, OciLayout):
            return content.open_blob(descriptor)
        if descriptor.digest == content.config_descriptor.digest:
            return nullcontext(BytesReader(content.config))
        names = {diff_id: name for name, diff_id in _files(content).items()}
        return index.open(self._find(index, names[descriptor.digest]))

    def layer_compressions(self) -> tuple[Compression, ...]:
        """Return how the blob of each layer of a stored image is, or will be, compressed.

        In a compressed archive, layers that were not reached yet are assumed to be stored like the
        next one, and links to lead to uncompressed layers, as in Docker's archives. The result of
        the first call is kept, since finding out again would read further.
        """
        if self._compressions is None:
            self._compressions = self._find_compressions()
        return self._compressions

    def find_layers(self, wanted: Collection[Digest]) -> Iterator[ArchivedLayer]:
        """Yield a stored image's layers; those of a compressed archive in its order.

        Parameters
        ----------
        wanted
            Their diff_ids; equal layers are yielded once.

        Raises
        ------
        InvalidArchiveError
            A layer is missing, or has an unsupported compression.
        """
        index, image = self._open_stored()
        files = {name: diff_id for name, diff_id in _files(image).items() if diff_id in wanted}
        for member, diff_id in self._members(index, files):
            yield self._layer(index, member, diff_id)

    def find_layers_at_hand(self) -> tuple[ArchivedLayer, ...] | None:
        """Return a stored image's layers; None when that would mean reading them."""
        index, image = self._open_stored()
        if self.is_sequential and not index.is_read:
            return None
        return tuple(self.find_layers(image.diff_ids))

    def sequential_order(self, blobs: Collection[Descriptor]) -> Iterator[Descriptor]:
        """Yield blobs in the order of the archive, reading on for them."""
        index, content = self._open()
        if isinstance(content, OciLayout):
            embedded = [blob for blob in blobs if not content.is_file(blob)]
            yield from embedded
            files = {blob_name(blob.digest): blob for blob in blobs if blob not in embedded}
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
        """Yield each item with its file; in a compressed archive those that lie ahead first."""
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
            raise index.missing(name)
        return member

    def _open(self) -> tuple[TarIndex, OciLayout | StoredImage]:
        with self._lock:
            if self._index is None:
                self._index = TarIndex(self._uncompressed(), self._reference.location)
            if self._content is None:
                self._content = read_contents(self._index, self._reference, self._compression)
            return self._index, self._content

    def _open_stored(self) -> tuple[TarIndex, StoredImage]:
        index, content = self._open()
        if isinstance(content, OciLayout):
            raise InvalidManifestError(f"invalid manifest: {self._reference} has one of its own")
        return index, content

    def _layer(self, index: TarIndex, member: Member, diff_id: Digest) -> ArchivedLayer:
        return find_archived_layer(index, member, diff_id, self._compression, self._wide_window)

    def _uncompressed(self) -> RangedReader:
        head = self._object.read_range(0, PAGE_BYTES)
        started = StartedObject(self._object, head)
        compression = Compression.of(head)
        if compression is Compression.NONE:
            return started
        self._forward = ForwardReader(started, compression, self._reference.location)
        return self._forward


def _files(image: StoredImage) -> dict[str, Digest]:
    """Map the name of each layer's file to its diff_id."""
    return dict(zip(image.layers, image.diff_ids, strict=True))
