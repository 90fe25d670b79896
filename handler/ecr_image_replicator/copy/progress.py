"""Progress of a copy: one counter for logs, command line, metrics and continuations."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from ecr_image_replicator.copy.ports import BlobOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ecr_image_replicator.errors import TransientError
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor

_LOGGER: Final = logging.getLogger(__name__)
DEFAULT_INTERVAL_SECONDS: Final = 5.0
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")


class ProgressSnapshot(NamedTuple):
    """The state of an unfinished copy, for the invocation that continues it.

    Attributes
    ----------
    pinned
        The digest of the source's reference; None when it is not known.
    copied
        The number of blobs that were copied completely.
    largest_left
        The largest blob that is still missing; None when none is, or none is known.
    bytes_per_second
        Over all streams, since the first blob.
    etag
        The ETag of the source's S3 object; "" for other sources.
    made
        The blobs that were made of stored layers, by their diff_ids.
    copied_bytes, lost_bytes
        Of the blobs that were copied completely, and of those that were interrupted.
    """

    pinned: Digest | None
    copied: int
    largest_left: Descriptor | None
    bytes_per_second: float
    etag: str = ""
    made: Mapping[Digest, Descriptor] = MappingProxyType({})
    copied_bytes: int = 0
    lost_bytes: int = 0


class Counts(NamedTuple):
    """What one invocation has done, finished or not; each blob is counted once.

    Attributes
    ----------
    bytes_moved
        Bytes of blobs that were read; a blob that is sent again counts again.
    blobs_copied, blobs_skipped, blobs_mounted
        Blobs by outcome.
    retries
        Attempts after the first, of requests and of blobs; botocore's own are not included.
    throttles
        The retries after a response that limits the rate.
    """

    bytes_moved: int = 0
    blobs_copied: int = 0
    blobs_skipped: int = 0
    blobs_mounted: int = 0
    retries: int = 0
    throttles: int = 0


class ProgressTotals(NamedTuple):
    """The progress of a copy.

    Attributes
    ----------
    done_bytes, total_bytes
        Of the blobs to copy, as far as they are known; blobs that exist already are not included.
    done_blobs, total_blobs
        Blobs that exist already are included.
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
        """The remaining seconds at this rate; None when the rate is not known yet."""
        if not self.bytes_per_second:
            return None
        return (self.total_bytes - self.done_bytes) / self.bytes_per_second

    def __str__(self) -> str:
        """Describe the progress: ``3 of 7 blobs copied (1.2 of 4.0 GiB)``."""
        if not self.total_blobs:
            return "0 blobs copied"
        blobs = f"{self.done_blobs} of {self.total_blobs} blobs copied"
        return f"{blobs} ({_format_share(self.done_bytes, self.total_bytes)})"


class ProgressCounter:
    """A thread-safe counter of blobs and bytes; see `ports.Progress`.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began_at: float | None = None
        self._planned: dict[Digest, Descriptor] = {}
        self._done: dict[Digest, BlobOutcome] = {}
        self._running: dict[Descriptor, int] = {}
        self._made: dict[Digest, Descriptor] = {}
        self._made_blobs: set[Digest] = set()
        self._total_bytes = self._copied_bytes = self._moved_bytes = 0
        self._retries = self._throttles = 0

    @property
    def moved_bytes(self) -> int:
        """Bytes of blobs that were read so far."""
        return self._moved_bytes

    def plan(self, blobs: Iterable[Descriptor]) -> None:
        """Add blobs to the total, each once."""
        with self._lock:
            for blob in blobs:
                if blob.digest not in self._planned and blob.digest not in self._made_blobs:
                    self._planned[blob.digest] = blob
                    self._total_bytes += blob.size_bytes

    def start(self, blob: Descriptor) -> None:
        """Count from the first byte of a blob."""
        with self._lock:
            self._running[blob] = 0
            if self._began_at is None:
                self._began_at = self._clock()

    def advance(self, blob: Descriptor, count_bytes: int) -> int:
        """Count bytes of a blob, and return how many it has."""
        with self._lock:
            self._running[blob] = count = self._running.get(blob, 0) + count_bytes
            self._moved_bytes += count_bytes
            return count

    def finish(self, blob: Descriptor, outcome: BlobOutcome) -> bool:
        """Count a blob as done; return False if it was counted before."""
        with self._lock:
            self._running.pop(blob, None)
            if blob.digest in self._done or blob.digest in self._made_blobs:
                return False
            self._done[blob.digest] = outcome
            if outcome is BlobOutcome.COPIED:
                self._copied_bytes += blob.size_bytes
            elif blob.digest in self._planned:
                self._total_bytes -= blob.size_bytes
            return True

    def make(self, stored: Descriptor, blob: Descriptor) -> None:
        """Remember the blob of a stored layer, so that it is not counted again."""
        with self._lock:
            self._made[stored.digest] = blob
            self._made_blobs.add(blob.digest)

    def retry(self, error: TransientError) -> None:
        """Count a retry."""
        with self._lock:
            self._retries += 1
            self._throttles += error.is_throttle

    def running(self) -> dict[Descriptor, int]:
        """Return the blobs that are being copied, with their bytes so far."""
        with self._lock:
            return dict(self._running)

    def totals(self) -> ProgressTotals:
        """Return the progress so far."""
        with self._lock:
            return ProgressTotals(
                self._copied_bytes + sum(self._running.values()),
                self._total_bytes,
                len(self._done),
                len(self._planned.keys() | self._done.keys()),
                self._rate(),
            )

    def counts(self) -> Counts:
        """Return the counts so far."""
        with self._lock:
            outcomes = Counter(self._done.values())
            return Counts(
                bytes_moved=self._moved_bytes,
                blobs_copied=outcomes[BlobOutcome.COPIED],
                blobs_skipped=outcomes[BlobOutcome.SKIPPED],
                blobs_mounted=outcomes[BlobOutcome.MOUNTED],
                retries=self._retries,
                throttles=self._throttles,
            )

    def snapshot(self, pinned: Digest | None, etag: str) -> ProgressSnapshot:
        """Return what another invocation needs to continue the copy."""
        with self._lock:
            outcomes = Counter(self._done.values())
            left = [blob for digest, blob in self._planned.items() if digest not in self._done]
            return ProgressSnapshot(
                pinned,
                outcomes[BlobOutcome.COPIED],
                max(left, key=lambda blob: blob.size_bytes, default=None),
                self._rate(),
                etag,
                dict(self._made),
                self._copied_bytes,
                sum(self._running.values()),
            )

    def _rate(self) -> float:
        if self._began_at is None:
            return 0.0
        return self._moved_bytes / max(self._clock() - self._began_at, 1e-3)


class LoggedProgress:
    """Progress that logs a line at most once an interval, and one after each stage.

    Parameters
    ----------
    interval_seconds
        The shortest time between two lines; a shorter copy logs none.
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
        self._counter = ProgressCounter(clock=clock)
        self._lock = threading.Lock()
        self._logged_at = clock()
        self._pinned: Digest | None = None
        self._etag = ""

    def pin(self, digest: Digest, etag: str = "") -> None:
        """Remember the digest of the source's reference."""
        self._pinned, self._etag = digest, etag

    def plan(self, blobs: Iterable[Descriptor]) -> None:
        """Add blobs to the total."""
        self._counter.plan(blobs)

    def start(self, blob: Descriptor) -> None:
        """Count from the first byte of a blob."""
        self._counter.start(blob)

    def advance(self, blob: Descriptor, count_bytes: int) -> None:
        """Count bytes, and log a line when it is due."""
        self._counter.advance(blob, count_bytes)
        now = self._clock()
        with self._lock:
            if now - self._logged_at < self._interval_seconds:
                return
            self._logged_at = now
        totals = self._counter.totals()
        _LOGGER.info(
            "progress",
            extra={
                "bytes_done": totals.done_bytes,
                "bytes_total": totals.total_bytes,
                "bytes_per_second": round(totals.bytes_per_second),
                "running": {
                    f"{blob.digest.encoded[:12]} of {blob.size_bytes}": count
                    for blob, count in self._counter.running().items()
                },
            },
        )

    def finish(self, blob: Descriptor, outcome: BlobOutcome) -> None:
        """Count a blob as done."""
        self._counter.finish(blob, outcome)
        _LOGGER.debug(
            "blob done",
            extra={
                "blob": str(blob.digest),
                "outcome": outcome.value,
                "bytes": blob.size_bytes,
            },
        )

    def make(self, stored: Descriptor, blob: Descriptor) -> None:
        """Remember the blob of a stored layer."""
        self._counter.make(stored, blob)

    def retry(self, error: TransientError) -> None:
        """Count a retry."""
        self._counter.retry(error)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Log the seconds and bytes of a stage, also when it fails."""
        began_at, bytes_before = self._clock(), self._counter.moved_bytes
        try:
            yield
        finally:
            extra = {
                "stage": name,
                "stage_seconds": round(self._clock() - began_at, 3),
                "stage_bytes": self._counter.moved_bytes - bytes_before,
            }
            _LOGGER.info("stage", extra=extra)

    def counts(self) -> Counts:
        """Return the counts so far."""
        return self._counter.counts()

    def snapshot(self) -> ProgressSnapshot:
        """Return what another invocation needs to continue the copy."""
        return self._counter.snapshot(self._pinned, self._etag)

    def summary(self) -> str:
        """Describe the progress: ``3 of 7 blobs copied (1.2 of 4.0 GiB)``."""
        return str(self._counter.totals())


def _format_share(part_bytes: int, whole_bytes: int) -> str:
    """Format two sizes in the unit of the larger: ``1.2 of 4.0 GiB``."""
    whole = max(part_bytes, whole_bytes)
    if whole < 1024:
        return f"{part_bytes} of {whole} B"
    power = 1
    while whole >= 1024 ** (power + 1) and power < len(_UNITS):
        power += 1
    scale = 1024**power
    return f"{part_bytes / scale:.1f} of {whole / scale:.1f} {_UNITS[power - 1]}"
