"""A cache of manifests and image configs for the life of the process.

The content of a digest never changes, so that a warm function finds an unchanged image without
reading anything. An entry belongs to one registry, repository and credentials: it proves nothing
to a stack with other credentials, and the media type that one registry sends says nothing about
another registry.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import InvalidManifestError
from ecr_image_replicator.model.digests import BytesReader, Digest, read_verified
from ecr_image_replicator.model.manifests import (
    CONFIG_MEDIA_TYPES,
    parse_config_platform,
    parse_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from ecr_image_replicator.copy.ports import ImageSource
    from ecr_image_replicator.model.digests import ByteReader
    from ecr_image_replicator.model.manifests import Descriptor, ImageManifest, Manifest
    from ecr_image_replicator.model.platforms import Platform

_DEFAULT_CAPACITY_BYTES: Final = 4 * 1024 * 1024
#: A larger config is streamed like any blob, and its platform is unknown.
_MAX_CONFIG_BYTES: Final = 1024 * 1024


class ContentCache:
    """A bounded cache by owner and digest; the least recently used content is dropped first.

    Parameters
    ----------
    capacity_bytes
        Of all content together; larger content is not kept.
    """

    def __init__(self, capacity_bytes: int = _DEFAULT_CAPACITY_BYTES) -> None:
        self._capacity_bytes = capacity_bytes
        self._size_bytes = 0
        self._lock = threading.Lock()
        self._content: OrderedDict[tuple[Hashable, Digest], tuple[bytes, str]] = OrderedDict()

    def lookup(self, owner: Hashable, digest: Digest) -> tuple[bytes, str] | None:
        """Return content and media type, None when they are not kept for this owner."""
        key = (owner, digest)
        with self._lock:
            found = self._content.get(key)
            if found is not None:
                self._content.move_to_end(key)
            return found

    def keep(self, owner: Hashable, digest: Digest, content: bytes, media_type: str) -> None:
        """Keep verified content."""
        key = (owner, digest)
        with self._lock:
            if key in self._content or len(content) > self._capacity_bytes:
                return
            self._content[key] = (content, media_type)
            self._size_bytes += len(content)
            while self._size_bytes > self._capacity_bytes:
                _, (dropped, _) = self._content.popitem(last=False)
                self._size_bytes -= len(dropped)


class CachingSource:
    """A source that reads each manifest and config once.

    Parameters
    ----------
    source
        The source to read from.
    cache
        The cache of the process.
    owner
        Registry, repository and credentials of the source.
    """

    def __init__(self, source: ImageSource, cache: ContentCache, owner: Hashable) -> None:
        self._source = source
        self._cache = cache
        self._owner = owner

    def find_digest(self) -> Digest | None:
        """Return the digest at the source; a tag may have moved."""
        return self._source.find_digest()

    def fetch_manifest(self, digest: Digest | None = None) -> Manifest:
        """Read a manifest, from the cache if its digest is known."""
        found = self._cache.lookup(self._owner, digest) if digest is not None else None
        if found is not None:
            return parse_manifest(*found)
        manifest = self._source.fetch_manifest(digest)
        self._keep(digest or manifest.digest, manifest.content, manifest.media_type)
        return manifest

    def keep_manifest(self, manifest: Manifest) -> None:
        """Keep a manifest of this source that was read in another way."""
        self._keep(manifest.digest, manifest.content, manifest.media_type)

    def expect_blobs(self, count: int) -> None:
        """Prepare to read so many blobs at once."""
        self._source.expect_blobs(count)

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[ByteReader]:
        """Read a blob; a config is kept while it is read, embedded data needs no request."""
        if descriptor.data is not None:
            yield BytesReader(descriptor.data)
            return
        found = self._cache.lookup(self._owner, descriptor.digest)
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
                self._keep(descriptor.digest, content, descriptor.media_type)

    def fetch_platform(self, manifest: ImageManifest) -> Platform | None:
        """Read an image's platform from its config; None without one, and for artifacts.

        Raises
        ------
        ReplicationError
            The config cannot be read.
        """
        if not manifest.is_container_image or not _is_small_config(manifest.config):
            return None
        if self._known_config(manifest.config) is None:
            self.fetch_small_blob(manifest.config)
        return self.known_platform(manifest)

    def fetch_small_blob(self, descriptor: Descriptor) -> bytes:
        """Read and verify a whole blob; the caller has checked its size.

        Raises
        ------
        DigestMismatchError
            The content does not match the descriptor.
        """
        with self.open_blob(descriptor) as reader:
            return read_verified(reader, descriptor.digest, descriptor.size_bytes)

    def known_platform(self, manifest: ImageManifest) -> Platform | None:
        """Return an image's platform if its config was read before or is in the manifest."""
        config = self._known_config(manifest.config) if manifest.is_container_image else None
        try:
            return parse_config_platform(config) if config else None
        except InvalidManifestError:
            return None  # copied as it is, as every other blob

    def _known_config(self, descriptor: Descriptor) -> bytes | None:
        if descriptor.data is not None:
            return descriptor.data
        found = self._cache.lookup(self._owner, descriptor.digest)
        return found[0] if found else None

    def _keep(self, digest: Digest, content: bytes, media_type: str) -> None:
        self._cache.keep(self._owner, digest, content, media_type)


class _Tee:
    """A reader that keeps what it reads."""

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
