"""How far a copy is: bytes done, of how many, how fast."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecr_image_replicator.copy.ports import BlobOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """How far it is.

    Attributes
    ----------
    done_bytes, total_bytes
        Of what has to be moved, as far as that is known; what was found there is neither.
    done_blobs, total_blobs
        Those found there included.
    bytes_per_second
        Over all streams, since the first byte.
    """

    done_bytes: int
    total_bytes: int
    done_blobs: int
    total_blobs: int
    bytes_per_second: float

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None when that is not known yet."""
        if not self.bytes_per_second:
            return None
        return (self.total_bytes - self.done_bytes) / self.bytes_per_second


class ProgressCounter:
    """Counts what the engine tells, from several threads at once; see `ports.Progress`.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began_at: float | None = None
        self._total_bytes = self._moved_bytes = self._finished_bytes = 0
        self._total_blobs = self._done_blobs = 0
        self._running: dict[Descriptor, int] = {}
        self._made: set[Digest] = set()

    def plan(self, blobs: Iterable[Descriptor]) -> None:
        """Count blobs to be dealt with, but for those that were made on the way here."""
        with self._lock:
            for blob in blobs:
                if blob.digest not in self._made:
                    self._total_blobs += 1
                    self._total_bytes += blob.size_bytes

    def start(self, blob: Descriptor) -> None:
        """Count from the blob's first byte."""
        with self._lock:
            self._running[blob] = 0
            if self._began_at is None:
                self._began_at = self._clock()

    def advance(self, blob: Descriptor, count_bytes: int) -> int:
        """Count bytes, and give how many the blob has by now."""
        with self._lock:
            self._running[blob] = count = self._running.get(blob, 0) + count_bytes
            self._moved_bytes += count_bytes
            return count

    def finish(self, blob: Descriptor, outcome: BlobOutcome) -> bool:
        """Count the blob as done; False for one that was counted when it was made."""
        with self._lock:
            self._running.pop(blob, None)
            if blob.digest in self._made:
                return False
            self._done_blobs += 1
            if outcome is BlobOutcome.COPIED:
                self._finished_bytes += blob.size_bytes
            else:
                self._total_bytes -= blob.size_bytes
            return True

    def make(self, blob: Descriptor) -> None:
        """Learn of a blob that was made, and whose making was counted."""
        with self._lock:
            self._made.add(blob.digest)

    def snapshot(self) -> ProgressSnapshot:
        """Say how far it is."""
        with self._lock:
            pace = 0.0
            if self._began_at is not None:
                pace = self._moved_bytes / max(self._clock() - self._began_at, 1e-3)
            return ProgressSnapshot(
                self._finished_bytes + sum(self._running.values()),
                self._total_bytes,
                self._done_blobs,
                self._total_blobs,
                pace,
            )
