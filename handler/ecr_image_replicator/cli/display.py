"""Progress output of a copy: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from ecr_image_replicator.cli.arguments import option_name
from ecr_image_replicator.cli.report import size
from ecr_image_replicator.copy.ports import BlobOutcome, Progress
from ecr_image_replicator.copy.progress import ProgressCounter
from ecr_image_replicator.errors import ReplicationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from ecr_image_replicator.errors import TransientError
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor

_INTERVAL_SECONDS: Final = 5.0
_SHOWN_DIGITS: Final = 12
_WORDS: Final = {
    BlobOutcome.COPIED: "copied",
    BlobOutcome.MOUNTED: "mounted",
    BlobOutcome.SKIPPED: "there already",
}


class Display(Progress, Protocol):
    """Shows a copy's progress, and lines beside it."""

    def show(self, line: str) -> None:
        """Print a line."""


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can erase lines."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def retry_line(error: TransientError) -> str:
    """Return the line for a retry: the error, and the wait if the registry names one."""
    message = ReplicationError(*error.message).render(option_name)
    after_seconds = error.retry_after_seconds
    wait = f" in {after_seconds:.0f} s" if after_seconds is not None else ""
    return f"retrying{wait}: {message}"


def name_of(blob: Descriptor) -> str:
    """Return the short name of a blob: the algorithm and the first digits of its digest."""
    return f"{blob.digest.algorithm}:{blob.digest.encoded[:_SHOWN_DIGITS]}"


class NullDisplay:
    """Shows nothing of a copy's progress."""

    def pin(self, digest: Digest, etag: str = "") -> None:
        """Not shown."""

    def plan(self, blobs: Iterable[Descriptor]) -> None:
        """Not shown."""

    def start(self, blob: Descriptor) -> None:
        """Not shown."""

    def advance(self, blob: Descriptor, count_bytes: int) -> None:
        """Not shown."""

    def finish(self, blob: Descriptor, outcome: BlobOutcome) -> None:
        """Not shown."""

    def make(self, stored: Descriptor, blob: Descriptor) -> None:
        """Not shown."""

    def retry(self, error: TransientError) -> None:
        """Not shown."""

    def stage(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002 - the port's
        """Not shown."""
        return nullcontext()

    def summary(self) -> str:
        """Return "", as nothing is counted."""
        return ""


class PlainLines(NullDisplay):
    """Prints a line for each blob, and a line every few seconds.

    Parameters
    ----------
    stream
        The stream to print to.
    clock
        Monotonic seconds.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._counter = ProgressCounter(clock=clock)
        self._printed_at = clock()
        self._order = threading.Lock()

    def show(self, line: str) -> None:
        """Print a line."""
        # in one piece, so that those of several threads do not mix
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def plan(self, blobs: Iterable[Descriptor]) -> None:
        """Add the blobs to the total."""
        self._counter.plan(blobs)

    def start(self, blob: Descriptor) -> None:
        """Count from the first byte."""
        self._counter.start(blob)

    def retry(self, error: TransientError) -> None:
        """Print the error before the wait for a retry."""
        self.show(retry_line(error))

    def advance(self, blob: Descriptor, count_bytes: int) -> None:
        """Count bytes, and print a line every few seconds."""
        self._counter.advance(blob, count_bytes)
        now = self._clock()
        if now - self._printed_at >= _INTERVAL_SECONDS:
            self._printed_at = now
            totals = self._counter.totals()
            left = totals.seconds_left
            self.show(
                f"{size(totals.done_bytes)} of {size(totals.total_bytes)}, "
                f"{size(totals.bytes_per_second)}/s"
                + (f", {left:.0f} s left" if left is not None else "")
            )

    def finish(self, blob: Descriptor, outcome: BlobOutcome) -> None:
        """Print a line for the blob, in the order in which blobs are counted."""
        with self._order:
            if self._counter.finish(blob, outcome):
                totals = self._counter.totals()
                self.show(
                    f"{name_of(blob)} {_WORDS[outcome]}, {size(blob.size_bytes)} "
                    f"({totals.done_blobs} of {totals.total_blobs})"
                )

    def make(self, stored: Descriptor, blob: Descriptor) -> None:
        """Count the stored blob and the one that is made from it as one."""
        self._counter.make(stored, blob)

    def summary(self) -> str:
        """Describe the progress."""
        return str(self._counter.totals())


@contextmanager
def opened_display(stream: TextIO) -> Iterator[Display]:
    """Open bars if the stream is a terminal and rich is installed, else plain lines."""
    if not is_terminal(stream):
        yield PlainLines(stream)
        return
    try:
        from ecr_image_replicator.cli.progress_bars import opened_bars  # noqa: PLC0415 - rich may not be installed
    except ModuleNotFoundError:
        yield PlainLines(stream)
        return
    with opened_bars(stream) as bars:
        yield bars
