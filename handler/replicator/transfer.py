"""The engine: carries a plan out on a bounded number of streams; the first failure stops the rest.

Memory is ``streams * buffer_bytes`` and what the interpreter and its libraries take; no blob is
ever held, whatever its size.
"""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from replicator.digests import VerifiedStream
from replicator.errors import TransientError
from replicator.ports import BlobOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from replicator.deadline import Deadline
    from replicator.digests import Digest
    from replicator.manifests import Descriptor, Manifest
    from replicator.plan import ReplicationPlan
    from replicator.ports import GrowingLayer, ImageDestination, ImageSource, Progress, Upload
    from replicator.retries import Backoff

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Layer = TypeVar("_Layer", bound="GrowingLayer")
DEFAULT_STREAMS: Final = 6
#: One system call's worth: large enough that Python's share vanishes, small enough for a cache.
DEFAULT_BUFFER_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class TransferReport:
    """What a transfer did."""

    blobs_copied: int = 0
    blobs_mounted: int = 0
    blobs_skipped: int = 0
    bytes_copied: int = 0

    def __add__(self, other: TransferReport) -> TransferReport:
        """Count both."""
        return TransferReport(
            self.blobs_copied + other.blobs_copied,
            self.blobs_mounted + other.blobs_mounted,
            self.blobs_skipped + other.blobs_skipped,
            self.bytes_copied + other.bytes_copied,
        )


class Transfer:
    """Moves one image.

    Parameters
    ----------
    source, destination
        Both are used by several threads at once.
    deadline
        Checked before each request and each buffer; stopped when something fails.
    backoff
        For blobs that are begun again after they broke off.
    progress
        Told of every step.
    streams
        Blobs in flight at once.
    buffer_bytes
        Of each stream.
    """

    def __init__(
        self,
        source: ImageSource,
        destination: ImageDestination,
        *,
        deadline: Deadline,
        backoff: Backoff,
        progress: Progress,
        streams: int = DEFAULT_STREAMS,
        buffer_bytes: int = DEFAULT_BUFFER_BYTES,
    ) -> None:
        self._source = source
        self._destination = destination
        self._deadline = deadline
        self._backoff = backoff
        self._progress = progress
        self._streams = streams
        self._buffer_bytes = buffer_bytes
        self._buffers = threading.local()
        self._grown: list[Descriptor] = []

    def find_present(self, blobs: Iterable[Descriptor]) -> frozenset[Digest]:
        """Ask the destination which of these blobs it has; the answer is certain."""
        asked = list(blobs)
        there = set(self._destination.find_blobs(asked) if asked else ())

        def ask(blob: Descriptor) -> None:
            if self._destination.has_blob(blob.digest):
                there.add(blob.digest)

        with self._pool() as pool:
            self._each(pool, ask, [blob for blob in asked if blob.digest not in there])
        return frozenset(there)

    def grow(
        self,
        layers: Iterable[_Layer],
        on_grown: Callable[[_Layer, Descriptor], None],
        *,
        one_by_one: bool,
    ) -> None:
        """Send layers whose blobs are made on the way.

        Parameters
        ----------
        on_grown
            Told of each layer and its blob, when that is at the destination.
        one_by_one
            Each layer is asked for when the one before it was sent.

        Raises
        ------
        ReplicationError
            As `run` does.
        """

        def send(layer: _Layer) -> None:
            self._progress.plan((layer.stored,))
            blob = self._restarted(layer.stored, lambda: self._grow_once(layer))
            self._grown.append(blob)
            self._progress.finish(layer.stored, BlobOutcome.COPIED)
            on_grown(layer, blob)

        with self._pool() as pool:
            self._each(pool, send, layers, one_by_one=one_by_one)

    def run(
        self, plan: ReplicationPlan, *, in_turn: Iterable[Descriptor] | None = None
    ) -> TransferReport:
        """Do every step of the plan, the tags last.

        Parameters
        ----------
        in_turn
            The plan's blobs in the order in which the source has to be read, each asked for when
            the one before it was moved; None for as many at once as there are streams.

        Raises
        ------
        ReplicationError
            The first thing that failed. Uploads in flight were cancelled; no tag was put unless
            everything that it refers to is there.
        """
        self._progress.plan((*plan.blobs, *plan.present))
        for blob in plan.present:
            self._progress.finish(blob, BlobOutcome.SKIPPED)
        there = self._destination.find_blobs(plan.blobs) if plan.blobs else frozenset()
        outcomes = dict.fromkeys(plan.present, BlobOutcome.SKIPPED)
        outcomes |= dict.fromkeys(self._grown, BlobOutcome.COPIED)

        def move(blob: Descriptor) -> None:
            found = BlobOutcome.SKIPPED if blob.digest in there else None
            outcomes[blob] = found or self._move(blob, plan.mount_from)
            self._progress.finish(blob, outcomes[blob])

        with self._pool() as pool:
            if in_turn is None:
                self._each(pool, move, plan.blobs)
            else:
                self._each(pool, move, in_turn, one_by_one=True)
            for level in plan.levels:
                self._each(pool, lambda child: self._push(child, str(child.digest)), level)
            # the first brings the root along; what it refuses, no other tag has seen yet
            self._each(pool, self._put, plan.puts[:1])
            self._each(pool, self._put, plan.puts[1:])
        return _report(outcomes)

    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._streams, thread_name_prefix="stream")

    def _each(
        self,
        pool: ThreadPoolExecutor,
        work: Callable[[_Item], None],
        items: Iterable[_Item],
        *,
        one_by_one: bool = False,
    ) -> None:
        """Do the work for every item in parallel; the first failure stops the others."""
        futures: list[Future[None]] = []
        try:
            for item in items:
                futures.append(pool.submit(work, item))
                if one_by_one:
                    futures[-1].result()
            for future in as_completed(futures):
                future.result()
        except BaseException:
            self._deadline.stop()
            for future in futures:
                future.cancel()
            raise

    def _move(self, blob: Descriptor, mount_from: str | None) -> BlobOutcome:
        """Bring one blob over."""
        return self._restarted(blob, lambda: self._move_once(blob, mount_from))

    def _restarted(self, blob: Descriptor, once: Callable[[], _Result]) -> _Result:
        """Do something with a blob, from its start again when it breaks off."""
        for attempt in itertools.count(1):
            self._deadline.check(f"copy the blob {blob.digest}")
            try:
                return once()
            except TransientError as error:
                if not self._backoff.wait_after(attempt, error):
                    raise
        raise AssertionError  # itertools.count has no end

    def _move_once(self, blob: Descriptor, mount_from: str | None) -> BlobOutcome:
        opened = self._destination.start_upload(blob, mount_from=mount_from)
        if isinstance(opened, BlobOutcome):
            return opened
        with _cancelled_on_failure(opened), self._source.open_blob(blob) as reader:
            self._progress.start(blob)
            opened.finish(
                VerifiedStream(
                    reader,
                    blob.digest,
                    blob.size_bytes,
                    buffer=self._buffer(),
                    on_bytes=lambda count: self._advance(blob, count),
                )
            )
        return BlobOutcome.COPIED

    def _grow_once(self, layer: GrowingLayer) -> Descriptor:
        upload = self._destination.start_growing_upload()
        with (
            _cancelled_on_failure(upload),
            layer.open_blob(
                buffer=self._buffer(),
                on_bytes=lambda count: self._advance(layer.stored, count),
            ) as growing,
        ):
            self._progress.start(layer.stored)
            upload.append(growing)
            blob = growing.descriptor()
            upload.close_as(blob.digest)
        return blob

    def _advance(self, blob: Descriptor, count_bytes: int) -> None:
        self._progress.advance(blob, count_bytes)
        self._deadline.check(f"copy the blob {blob.digest} of {blob.size_bytes} bytes")

    def _push(self, manifest: Manifest, reference: str) -> None:
        self._deadline.check(f"push the manifest {manifest.digest}")
        self._destination.push_manifest(manifest, reference)

    def _put(self, put: tuple[str, Manifest]) -> None:
        reference, manifest = put
        self._push(manifest, reference)

    def _buffer(self) -> memoryview:
        """Give this thread's buffer, which all its blobs use one after the other."""
        if not hasattr(self._buffers, "view"):
            self._buffers.view = memoryview(bytearray(self._buffer_bytes))
        view: memoryview = self._buffers.view
        return view


@contextmanager
def _cancelled_on_failure(upload: Upload) -> Iterator[None]:
    try:
        yield
    except BaseException:
        upload.cancel()
        raise


def _report(outcomes: dict[Descriptor, BlobOutcome]) -> TransferReport:
    found = list(outcomes.values())
    return TransferReport(
        blobs_copied=found.count(BlobOutcome.COPIED),
        blobs_mounted=found.count(BlobOutcome.MOUNTED),
        blobs_skipped=found.count(BlobOutcome.SKIPPED),
        bytes_copied=sum(
            blob.size_bytes for blob, outcome in outcomes.items() if outcome is BlobOutcome.COPIED
        ),
    )
