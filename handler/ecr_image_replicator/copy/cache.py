"""Content that was read once and need not be read again: manifests and image configs.

What a digest names never changes, so it may be kept for the life of the process; a warm function
then finds an unchanged image without reading anything.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.model.digests import BytesReader, Digest, read_verified
from ecr_image_replicator.model.manifests import (
    CONFIG_MEDIA_TYPES,
    parse_config_platform,
    parse_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecr_image_replicator.copy.ports import ImageSource
    from ecr_image_replicator.model.digests import ByteReader
    from ecr_image_replicator.model.manifests import Descriptor, ImageManifest, Manifest
    from ecr_image_replicator.model.platforms import Platform

_DEFAULT_CAPACITY_BYTES: Final = 4 * 1024 * 1024
#: Larger configs are streamed like any blob, and say nothing of their platform.
_MAX_CONFIG_BYTES: Final = 1024 * 1024


class ContentCache:
    """Small pieces of content by digest, the least recently used dropped first.

    Parameters
    ----------
    capacity_bytes
        Of all content together; a larger piece is not kept.
    """

    def __init__(self, capacity_bytes: int = _DEFAULT_CAPACITY_BYTES) -> None:
        self._capacity_bytes = capacity_bytes
        self._size_bytes = 0
        self._lock = threading.Lock()
        self._content: OrderedDict[Digest, tuple[bytes, str]] = OrderedDict()

    def find(self, digest: Digest) -> tuple[bytes, str] | None:
        """Give content and media type, None when they are not kept."""
        with self._lock:
            found = self._content.get(digest)
            if found is not None:
                self._content.move_to_end(digest)
            return found

    def keep(self, digest: Digest, content: bytes, media_type: str) -> None:
        """Keep content that has been verified."""
        with self._lock:
            if digest in self._content or len(content) > self._capacity_bytes:
                return
            self._content[digest] = (content, media_type)
            self._size_bytes += len(content)
            while self._size_bytes > self._capacity_bytes:
                _, (dropped, _) = self._content.popitem(last=False)
                self._size_bytes -= len(dropped)


class CachingSource:
    """A source that reads each manifest and config once.

    Parameters
    ----------
    source
        What is read from.
    cache
        The process's.
    """

    def __init__(self, source: ImageSource, cache: ContentCache) -> None:
        self._source = source
        self._cache = cache

    def find_digest(self) -> Digest | None:
        """Ask the source; a tag may have moved."""
        return self._source.find_digest()

    def fetch_manifest(self, digest: Digest | None = None) -> Manifest:
        """Read a manifest, from the cache when its digest is known."""
        found = self._cache.find(digest) if digest is not None else None
        if found is not None:
            return parse_manifest(*found)
        manifest = self._source.fetch_manifest(digest)
        self._cache.keep(digest or manifest.digest, manifest.content, manifest.media_type)
        return manifest

    def keep_manifest(self, manifest: Manifest) -> None:
        """Keep a manifest that was read in another way, under the digest of its bytes."""
        self._cache.keep(manifest.digest, manifest.content, manifest.media_type)

    def expect_blobs(self, count: int) -> None:
        """Tell the source."""
        self._source.expect_blobs(count)

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[ByteReader]:
        """Read a blob; a config is kept as it passes."""
        found = self._cache.find(descriptor.digest)
        if found is not None:
            yield BytesReader(found[0])
            return
        with self._source.open_blob(descriptor) as reader:
            if not _is_small_config(descriptor):
                yield reader
                return
            tee = _Tee(reader)
            yield tee
            content = bytes(tee.content)
            if Digest.of(content, descriptor.digest.algorithm) == descriptor.digest:
                self._cache.keep(descriptor.digest, content, descriptor.media_type)

    def find_platform(self, manifest: ImageManifest) -> Platform | None:
        """Read an image's platform from its config; None for artifacts and outsize configs.

        Raises
        ------
        ReplicationError
            The config cannot be read, or is malformed.
        """
        if not manifest.is_container_image or not _is_small_config(manifest.config):
            return None
        if self._cache.find(manifest.config.digest) is None:
            self.fetch_small_blob(manifest.config)
        return self.known_platform(manifest)

    def fetch_small_blob(self, descriptor: Descriptor) -> bytes:
        """Read a whole blob, verified; the caller has seen that it is small.

        Raises
        ------
        DigestMismatchError
            It is something else than its descriptor says.
        """
        with self.open_blob(descriptor) as reader:
            return read_verified(reader, descriptor.digest, descriptor.size_bytes)

    def known_platform(self, manifest: ImageManifest) -> Platform | None:
        """Give an image's platform if its config was read before."""
        found = self._cache.find(manifest.config.digest)
        return parse_config_platform(found[0]) if found and manifest.is_container_image else None


class _Tee:
    """Keeps what passes."""

    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader
        self.content = bytearray()

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._reader.readinto(buffer)
        self.content += buffer[:count]
        return count


def _is_small_config(descriptor: Descriptor) -> bool:
    is_config = descriptor.media_type in CONFIG_MEDIA_TYPES
    return is_config and descriptor.size_bytes <= _MAX_CONFIG_BYTES
