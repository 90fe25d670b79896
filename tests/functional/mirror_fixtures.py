"""Repositories with many tags, and mirror runs in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from local.images import Content, Layer, build_image, build_index, build_layer, place
from local.registry import RegistryServer
from local.web import AccessLogEntry

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.mirror.known import KnownImages
from ecr_image_replicator.mirror.local_run import LocalRun
from ecr_image_replicator.mirror.preparation import Preparation
from ecr_image_replicator.mirror.report import MirrorReport
from ecr_image_replicator.mirror.results import ImageResult
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.mirror_parsing import parse_mirror
from ecr_image_replicator.request.settings import Settings


class RecordingDisplay:
    """A mirror display that records the results and the waits."""

    def __init__(self) -> None:
        self.results: list[ImageResult] = []
        self.waits: list[tuple[str, float]] = []

    def prepared(self, preparation: Preparation) -> None:
        self.preparation = preparation

    def image_progress(self) -> LoggedProgress:
        return LoggedProgress()

    def image_done(self, result: ImageResult) -> None:
        self.results.append(result)

    def wait(self, host: str, seconds: float, reason: str) -> None:  # noqa: ARG002 - the port's signature
        self.waits.append((host, seconds))


def shared_layers(count: int = 3, size_bytes: int = 2000) -> list[Layer]:
    return [build_layer(size_bytes, seed=seed) for seed in range(count)]


def versioned_image(tag: str, base: Sequence[Layer], platform: str = "linux/amd64") -> Content:
    """Build an image with the base's layers and one unique layer."""
    own = build_layer(1500, seed=sum(map(ord, tag + platform)) + 1000)
    return build_image([*base, own], platform, labels={"version": tag})


def put_tags(
    registry: RegistryServer, repository: str, tags: Sequence[str], *, platforms: int = 1
) -> dict[str, Content]:
    """Place an image, or an index of several platforms, under each tag."""
    images = build_tags(tags, platforms=platforms)
    for tag, image in images.items():
        place(image, registry.store, repository, tag)
    return images


def build_tags(tags: Sequence[str], *, platforms: int = 1) -> dict[str, Content]:
    """Build an image, or an index of several platforms, for each tag; all share layers."""
    base = shared_layers()
    names = ("linux/amd64", "linux/arm64", "linux/s390x")[:platforms]
    images: dict[str, Content] = {}
    for tag in tags:
        each = [versioned_image(tag, base, platform) for platform in names]
        images[tag] = each[0] if platforms == 1 else build_index(each)
    return images


def run_mirror(
    properties: dict[str, Any],
    *,
    known: KnownImages | None = None,
    display: RecordingDisplay | None = None,
    replicator: Replicator | None = None,
    deadline: Deadline | None = None,
) -> MirrorReport:
    """Run a mirror in this process, by default with a new replicator."""
    engine = replicator or Replicator(Settings(plain_http=("127.0.0.1",)))
    try:
        run = LocalRun(
            engine,
            parse_mirror(properties),
            KnownImages() if known is None else known,
            deadline or Deadline(60),
            display or RecordingDisplay(),
        )
        return run.copy(run.prepare())
    finally:
        engine.close()


def methods(requests: Sequence[AccessLogEntry]) -> Counter[str]:
    """Count requests by method and by kind: manifest, tags or blob."""
    counts: Counter[str] = Counter()
    for each in requests:
        part = "tags" if each.path.endswith("/tags/list") else ""
        part = "manifest" if "/manifests/" in each.path else part
        counts[f"{each.method} {part or 'blob'}"] += 1
    return counts


class MemoryStore:
    """An in-memory store for a mirror's state."""

    bucket = "state"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def read(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def write(self, key: str, content: bytes) -> None:
        self.objects[key] = content

    def find_keys(self, prefix: str) -> Sequence[str]:
        return [key for key in self.objects if key.startswith(prefix)]

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            del self.objects[key]
