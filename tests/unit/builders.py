"""Manifests, properties and fakes that the unit tests share."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ecr_image_replicator.copy.ports import BlobOutcome, Upload
from ecr_image_replicator.model.digests import ByteReader, Digest, VerifiedStream
from ecr_image_replicator.model.manifests import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    ImageIndex,
    ImageManifest,
    Manifest,
    parse_manifest,
)

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(content: bytes | str) -> Digest:
    return Digest.of(content.encode() if isinstance(content, str) else content)


def entry(content: bytes | str, media_type: str = LAYER, **more: Any) -> dict[str, Any]:
    content = content.encode() if isinstance(content, str) else content
    return {
        "mediaType": media_type,
        "digest": str(digest_of(content)),
        "size": len(content),
        **more,
    }


def blob(content: bytes, media_type: str = LAYER) -> Descriptor:
    return Descriptor(media_type, digest_of(content), len(content))


def manifest_document(
    layers: Iterable[bytes] = (b"layer",), *, config: bytes = b"{}", **more: Any
) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": entry(config, OCI_CONFIG),
        "layers": [entry(layer) for layer in layers],
        **more,
    }


def image(
    layers: Iterable[bytes] = (b"layer",), *, config: bytes = b"{}", **more: Any
) -> ImageManifest:
    manifest = parse_manifest(encoded(manifest_document(layers, config=config, **more)))
    assert isinstance(manifest, ImageManifest)
    return manifest


def index_document(
    children: Iterable[Manifest], platforms: Mapping[Digest, str] | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            entry(child.content, child.media_type, **_platform(child, platforms or {}))
            for child in children
        ],
        **more,
    }


def index(
    children: Iterable[Manifest], platforms: Mapping[Digest, str] | None = None, **more: Any
) -> ImageIndex:
    manifest = parse_manifest(encoded(index_document(children, platforms, **more)))
    assert isinstance(manifest, ImageIndex)
    return manifest


def _platform(child: Manifest, platforms: Mapping[Digest, str]) -> dict[str, Any]:
    if child.digest not in platforms:
        return {}
    names = zip(("os", "architecture", "variant"), platforms[child.digest].split("/"), strict=False)
    return {"platform": dict(names)}


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


class FakeClock:
    """A clock that advances only when a test calls it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def wait(self, seconds: float) -> bool:
        """Advance the clock; no stop interrupts the wait."""
        self.sleep(seconds)
        return False


class FakeReader:
    """A reader that returns chunks of a maximum length."""

    def __init__(self, content: bytes, *, chunk_bytes: int = 1 << 20) -> None:
        self._left = memoryview(content)
        self._chunk_bytes = chunk_bytes

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), len(self._left), self._chunk_bytes)
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


class FakeSource:
    """An image source in memory that counts reads."""

    def __init__(
        self,
        blobs: Iterable[bytes] = (),
        manifests: Iterable[Manifest] = (),
        chunk_bytes: int = 1 << 20,
    ) -> None:
        self.content = {digest_of(content): content for content in blobs}
        self.manifests = {manifest.digest: manifest for manifest in manifests}
        self.root: Digest | None = next(iter(self.manifests), None)
        self.opened: list[Digest] = []
        self.fetched: list[Digest | None] = []
        self.expected = 0
        self._chunk_bytes = chunk_bytes
        self._lock = threading.Lock()

    def find_digest(self) -> Digest | None:
        return self.root

    def fetch_manifest(self, digest: Digest | None = None) -> Manifest:
        with self._lock:
            self.fetched.append(digest)
        wanted = digest or self.root
        assert wanted is not None
        return self.manifests[wanted]

    def expect_blobs(self, count: int) -> None:
        self.expected = count

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[ByteReader]:
        with self._lock:
            self.opened.append(descriptor.digest)
        yield FakeReader(self.content[descriptor.digest], chunk_bytes=self._chunk_bytes)


class FakeUpload:
    """An upload session that stores the sent bytes, or fails if configured."""

    def __init__(self, destination: FakeDestination, descriptor: Descriptor) -> None:
        self._destination = destination
        self._descriptor = descriptor

    def finish(self, body: VerifiedStream) -> None:
        self._destination.start_body(self._descriptor)
        content = b"".join(bytes(view) for view in body)
        self._destination.store(self._descriptor, content)

    def append(self, body: Iterable[bytes | memoryview]) -> None:
        raise AssertionError(f"append of {body} to a blob with a known digest")

    def close_as(self, digest: Digest) -> None:
        raise AssertionError(f"close_as {digest} for a blob with a known digest")

    def cancel(self) -> None:
        self._destination.log("cancel", str(self._descriptor.digest))


class FakeStreamedUpload:
    """An upload session for a blob whose digest is known at its end."""

    def __init__(self, destination: FakeDestination) -> None:
        self._destination = destination
        self._content = b""

    def finish(self, body: VerifiedStream) -> None:
        raise AssertionError(f"finish with {body} for a streamed blob")

    def append(self, body: Iterable[bytes | memoryview]) -> None:
        self._content = b"".join(map(bytes, body))
        self._destination.log("append", str(digest_of(self._content)))

    def close_as(self, digest: Digest) -> None:
        assert digest == digest_of(self._content)
        self._destination.fail_if_configured(str(digest))
        self._destination.stored[digest] = self._content
        self._destination.log("blob", str(digest))

    def cancel(self) -> None:
        self._destination.log("cancel", "streamed")


class FakeDestination:
    """A repository in memory that records the order of operations.

    Parameters
    ----------
    existing
        Blobs that `find_blobs` returns.
    outcomes
        Outcomes of blobs that need no upload.
    failures
        By blob digest or manifest reference: the exceptions that pushing raises, in this order.
    """

    def __init__(
        self,
        *,
        existing: Iterable[Digest] = (),
        outcomes: Mapping[Digest, BlobOutcome] | None = None,
        failures: Mapping[str, Sequence[Exception]] | None = None,
    ) -> None:
        self.events: list[tuple[str, str]] = []
        self.stored: dict[Digest, bytes] = {}
        self.mount_sources: list[str | None] = []
        self._existing = frozenset(existing)
        self._outcomes = dict(outcomes or {})
        self._failures = {name: list(errors) for name, errors in (failures or {}).items()}
        self._lock = threading.Lock()

    def log(self, event: str, subject: str) -> None:
        with self._lock:
            self.events.append((event, subject))

    def events_of(self, event: str) -> list[str]:
        """Return the digests and references of the events with this name, in order."""
        return [subject for name, subject in self.events if name == event]

    @property
    def needs_existence_check(self) -> bool:
        raise AssertionError("a transfer does not call needs_existence_check")

    def repository_missing(self) -> bool:
        raise AssertionError("a transfer does not call repository_missing")

    def find_manifest(self, tag: str) -> Manifest | None:
        raise AssertionError(f"a transfer does not read the tag {tag}")

    def find_digest(self, tag: str) -> Digest | None:
        raise AssertionError(f"a transfer does not read the tag {tag}")

    def check_tags(self, tags: Mapping[str, Digest | None], content: Digest) -> None:
        raise AssertionError(f"a transfer does not check the tags {[*tags]} for {content}")

    def find_blobs(self, descriptors: Sequence[Descriptor]) -> frozenset[Digest]:
        return self._existing & {descriptor.digest for descriptor in descriptors}

    def start_upload(
        self, descriptor: Descriptor, *, mount_from: str | None
    ) -> Upload | BlobOutcome:
        self.log("start", str(descriptor.digest))
        self.mount_sources.append(mount_from)
        return self._outcomes.get(descriptor.digest) or FakeUpload(self, descriptor)

    def open_upload(self, descriptor: Descriptor) -> Upload | BlobOutcome:
        self.log("open", str(descriptor.digest))
        return FakeUpload(self, descriptor)

    def has_blob(self, digest: Digest) -> bool:
        self.log("head", str(digest))
        return digest in self.stored

    def start_streamed_upload(self) -> Upload:
        self.log("start", "streamed")
        return FakeStreamedUpload(self)

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[ByteReader]:
        yield FakeReader(self.stored[descriptor.digest])

    def start_body(self, descriptor: Descriptor) -> None:
        self.fail_if_configured(str(descriptor.digest))

    def store(self, descriptor: Descriptor, content: bytes) -> None:
        self.stored[descriptor.digest] = content
        self.log("blob", str(descriptor.digest))

    def push_manifest(self, manifest: Manifest, reference: str) -> None:
        self.fail_if_configured(reference)
        self.stored[manifest.digest] = manifest.content
        self.log("manifest", reference)

    def fail_if_configured(self, name: str) -> None:
        with self._lock:
            errors = self._failures.get(name)
            error = errors.pop(0) if errors else None
        if error is not None:
            raise error
