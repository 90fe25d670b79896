"""Counts what a copy does, and passes its progress on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ecr_image_replicator.copy.ports import BlobOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from ecr_image_replicator.copy.ports import Progress
    from ecr_image_replicator.errors import TransientError
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor


class ProgressRecorder:
    """Remembers the source's digest and what was copied.

    Parameters
    ----------
    progress
        The progress that is notified too.

    Attributes
    ----------
    pinned
        What the source's tag stands for; None until it was read.
    blobs_copied, bytes_copied
        Blobs that arrived at the destination.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.pinned: Digest | None = None
        self.blobs_copied = 0
        self.bytes_copied = 0
        self._lock = threading.Lock()

    def pin(self, digest: Digest, etag: str = "") -> None:
        """Remember the digest."""
        self.pinned = digest
        self._progress.pin(digest, etag)

    def plan(self, blobs: Iterable[Descriptor]) -> None:
        """Pass on."""
        self._progress.plan(blobs)

    def start(self, blob: Descriptor) -> None:
        """Pass on."""
        self._progress.start(blob)

    def advance(self, blob: Descriptor, count_bytes: int) -> None:
        """Pass on."""
        self._progress.advance(blob, count_bytes)

    def finish(self, blob: Descriptor, outcome: BlobOutcome) -> None:
        """Count the blob if it was copied."""
        if outcome is BlobOutcome.COPIED:
            with self._lock:
                self.blobs_copied += 1
                self.bytes_copied += blob.size_bytes
        self._progress.finish(blob, outcome)

    def make(self, stored: Descriptor, blob: Descriptor) -> None:
        """Pass on."""
        self._progress.make(stored, blob)

    def retry(self, error: TransientError) -> None:
        """Pass on."""
        self._progress.retry(error)

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Pass on."""
        return self._progress.stage(name)

    def summary(self) -> str:
        """Pass on."""
        return self._progress.summary()
