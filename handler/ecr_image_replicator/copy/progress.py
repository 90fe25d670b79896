"""How far a copy has come, as log lines every few seconds, and what it took."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.copy.ports import BlobOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ecr_image_replicator.errors import TransientError
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor

_LOGGER: Final = logging.getLogger(__name__)
DEFAULT_INTERVAL_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """How far a copy came that has to go on another time.

    Attributes
    ----------
    pinned
        What the source's reference stands for; None when that was not found out.
    copied
        Blobs that were moved to their end.
    largest_left
        Of those that are not there yet; None when all are, or none is known.
    bytes_per_second
        Over all streams, since the first blob.
    etag
        Of the object that the source is in; "" when it is in none.
    made
        The blobs that were made of stored layers, by their diff_ids.
    copied_bytes, lost_bytes
        Of the blobs that were moved to their end, and of those that were cut off before it.
    """

    pinned: Digest | None
    copied: int
    largest_left: Descriptor | None
    bytes_per_second: float
    etag: str = ""
    made: Mapping[Digest, Descriptor] = field(default_factory=dict)
    copied_bytes: int = 0
    lost_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """What one invocation has done, whether or not it came to its end.

    Attributes
    ----------
    bytes_moved
        Of blobs, as they were read; a blob that was sent again counts again.
    blobs_copied, blobs_skipped, blobs_mounted
        That came to their end: sent, found there, taken from another repository.
    retries
        Attempts after the first, of requests and of blobs; botocore's own are not among them.
    throttles
        Those of the retries that a registry's wish for fewer requests was the reason for.
    """

    bytes_moved: int = 0
    blobs_copied: int = 0
    blobs_skipped: int = 0
    blobs_mounted: int = 0
    retries: int = 0
    throttles: int = 0


class LoggedProgress:
    """Counts bytes as they pass, logs at most once an interval, and after each stage.

    Parameters
    ----------
    interval_seconds
        Between two lines at least; a copy that is shorter logs none.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._began_at = self._logged_at = clock()
        self._total_bytes = 0
        self._finished_bytes = 0
        self._moved_bytes = 0
        self._running: dict[Descriptor, int] = {}
        self._pinned: Digest | None = None
        self._etag = ""
        self._made: dict[Digest, Descriptor] = {}
        self._left: dict[Descriptor, None] = {}
        self._done: Counter[BlobOutcome] = Counter()
        self._copied_bytes = self._retries = self._throttles = 0
        self._first_blob_at: float | None = None

    def pin(self, digest: Digest, etag: str = "") -> None:
        """Learn what the source's reference stands for."""
        self._pinned, self._etag = digest, etag

    def snapshot(self) -> ProgressSnapshot:
        """Say how far it has come, for another invocation to go on from there."""
        with self._lock:
            began_at = self._first_blob_at
            seconds = max(self._clock() - began_at, 1e-3) if began_at is not None else 1.0
            return ProgressSnapshot(
                self._pinned,
                self._done[BlobOutcome.COPIED],
                max(self._left, key=lambda blob: blob.size_bytes, default=None),
                self._moved_bytes / seconds,
                self._etag,
                dict(self._made),
                self._copied_bytes,
                sum(self._running.values()),
            )

    def plan(self, blobs: Iterable[Descriptor]) -> None:
        """Learn of all blobs that are going to be dealt with."""
        planned = list(blobs)
        with self._lock:
            self._total_bytes += sum(blob.size_bytes for blob in planned)
            self._left.update(dict.fromkeys(planned))

    def start(self, blob: Descriptor) -> None:
        """Count from the blob's first byte."""
        with self._lock:
            self._running[blob] = 0
            if self._first_blob_at is None:
                self._first_blob_at = self._clock()

    def advance(self, blob: Descriptor, count_bytes: int) -> None:
        """Count bytes, and log when it is time."""
        with self._lock:
            self._running[blob] = self._running.get(blob, 0) + count_bytes
            self._moved_bytes += count_bytes
            now = self._clock()
            if now - self._logged_at < self._interval_seconds:
                return
            self._logged_at = now
            line = self._describe(now)
        _LOGGER.info("progress", extra=line)

    def finish(self, blob: Descriptor, outcome: BlobOutcome) -> None:
        """Count the blob as done."""
        with self._lock:
            self._running.pop(blob, None)
            self._left.pop(blob, None)
            self._done[outcome] += 1
            if outcome is BlobOutcome.COPIED:
                self._copied_bytes += blob.size_bytes
            self._finished_bytes += blob.size_bytes
        _LOGGER.debug(
            "blob done",
            extra={
                "blob": str(blob.digest),
                "outcome": outcome.value,
                "bytes": blob.size_bytes,
            },
        )

    def make(self, stored: Descriptor, blob: Descriptor) -> None:
        """Learn which blob was made of a stored layer."""
        with self._lock:
            self._made[stored.digest] = blob

    def retry(self, error: TransientError) -> None:
        """Count it, and whether a registry wants fewer requests."""
        with self._lock:
            self._retries += 1
            self._throttles += error.is_throttle

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Log how many seconds and bytes a part of the work has taken, also when it fails."""
        began_at, bytes_before = self._clock(), self._moved_bytes
        try:
            yield
        finally:
            extra = {
                "stage": name,
                "stage_seconds": round(self._clock() - began_at, 3),
                "stage_bytes": self._moved_bytes - bytes_before,
            }
            _LOGGER.info("stage", extra=extra)

    def counts(self) -> Counts:
        """Say what there was to do so far."""
        with self._lock:
            return Counts(
                bytes_moved=self._moved_bytes,
                blobs_copied=self._done[BlobOutcome.COPIED],
                blobs_skipped=self._done[BlobOutcome.SKIPPED],
                blobs_mounted=self._done[BlobOutcome.MOUNTED],
                retries=self._retries,
                throttles=self._throttles,
            )

    def summary(self) -> str:
        """Say in a few words how far it has come and what is running."""
        with self._lock:
            line = self._describe(self._clock())
            running = ", ".join(
                f"{blob.digest} at {count} of {blob.size_bytes}"
                for blob, count in self._running.items()
            )
        return (
            f"{line['bytes_done']} of {line['bytes_total']} bytes were there, at "
            f"{line['bytes_per_second']} bytes a second"
            + (f", with {running} still running" if running else "")
        )

    def _describe(self, now: float) -> dict[str, object]:
        seconds = max(now - self._began_at, 1e-3)
        return {
            "bytes_done": self._finished_bytes + sum(self._running.values()),
            "bytes_total": self._total_bytes,
            "bytes_per_second": round(self._moved_bytes / seconds),
            "running": {
                f"{blob.digest.encoded[:12]} of {blob.size_bytes}": count
                for blob, count in self._running.items()
            },
        }
