"""A progress that counts copied blobs and forwards all calls."""

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
    """Records the source's digest and the copied blobs.

    Parameters
    ----------
    progress
        The progress to forward calls to.

    Attributes
    ----------
    pinned
        The digest of the source's tag, None until it is read.
    blobs_copied, bytes_copied
        Blobs that were copied to the destination.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.pinned: Digest | None = None
        self.blobs_copied = 0
        self.bytes_copied = 0
        self._lock = threading.Lock()

    def pin(self, digest: Digest, etag: str = "") -> None:
        """Record the digest."""
        self.pinned = digest
        self._progress.pin(digest, etag)

    def plan(self, blobs: Iterable[Descriptor]) -> None:
        """Forward the call."""
        self._progress.plan(blobs)

    def start(self, blob: Descriptor) -> None:
        """Forward the call."""
        self._progress.start(blob)

    def advance(self, blob: Descriptor, count_bytes: int) -> None:
        """Forward the call."""
        self._progress.advance(blob, count_bytes)

    def finish(self, blob: Descriptor, outcome: BlobOutcome) -> None:
        """Count the blob if it was copied."""
        if outcome is BlobOutcome.COPIED:
            with self._lock:
                self.blobs_copied += 1
                self.bytes_copied += blob.size_bytes
        self._progress.finish(blob, outcome)

    def make(self, stored: Descriptor, blob: Descriptor) -> None:
        """Forward the call."""
        self._progress.make(stored, blob)

    def retry(self, error: TransientError) -> None:
        """Forward the call."""
        self._progress.retry(error)

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Forward the call."""
        return self._progress.stage(name)

    def summary(self) -> str:
        """Forward the call."""
        return self._progress.summary()
