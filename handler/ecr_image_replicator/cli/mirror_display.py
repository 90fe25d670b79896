"""Progress output of a mirror: a line for each image, and a status line."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final, TextIO

from ecr_image_replicator.cli.display import NullDisplay, is_terminal, retry_line
from ecr_image_replicator.cli.report import size
from ecr_image_replicator.mirror.compare import ComparisonStatus
from ecr_image_replicator.mirror.results import ImageStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecr_image_replicator.copy.ports import Progress
    from ecr_image_replicator.errors import TransientError
    from ecr_image_replicator.mirror.preparation import Preparation
    from ecr_image_replicator.mirror.report import ChoiceSummary
    from ecr_image_replicator.mirror.results import ImageResult
    from ecr_image_replicator.model.manifests import Descriptor

_LINE_SECONDS: Final = 5.0
_STATUS_SECONDS: Final = 0.2
_DEFAULT_COLUMNS: Final = 80
_ERASE_LINE: Final = "\r\x1b[K"
_WORDS: Final = {
    ImageStatus.COPIED: "copied",
    ImageStatus.UNCHANGED: "unchanged",
    ImageStatus.FAILED: "failed",
    ImageStatus.LEFT: "left",
}


def count_images(count: int) -> str:
    """Return a number of images in words."""
    return f"{count} image" if count == 1 else f"{count} images"


class MirrorLines:
    """Prints a mirror's progress.

    Parameters
    ----------
    stream
        The stream to print to; on a terminal the last line is a status that is overwritten.
    is_quiet
        Print failures only.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        is_quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._is_quiet = is_quiet
        self._is_terminal = is_terminal(stream) and not is_quiet
        self._clock = clock
        self._lock = threading.Lock()
        self._began_at = self._shown_at = clock()
        self._total = self._done = self._bytes = 0
        self._waits: dict[str, float] = {}

    def show(self, line: str) -> None:
        """Print a line above the status."""
        with self._lock:
            self._write(line)

    def prepared(self, preparation: Preparation) -> None:
        """Print the numbers of chosen and changed images."""
        self._total = preparation.count(ComparisonStatus.CHANGED, ComparisonStatus.UNCOMPARED)
        self._began_at = self._clock()
        if not self._is_quiet:
            unchanged = preparation.count(ComparisonStatus.UNCHANGED)
            self.show(
                f"{count_images(preparation.chosen)} chosen, {unchanged} unchanged, "
                f"{self._total} to copy or compare"
            )

    def rejected(self, choice: ChoiceSummary) -> None:
        """Print the images that cannot be copied, and patterns without a match."""
        for result in choice.failed:
            self.show(f"{result.destination} failed: {result.error}")
        for warning in () if self._is_quiet else choice.warnings:
            self.show(f"warning: {warning}")

    def image_progress(self) -> Progress:
        """Return a progress that adds to the set's bytes and prints retries."""
        return _ImageProgress(self._advance, self._retry)

    def image_done(self, result: ImageResult) -> None:
        """Print a line for an image."""
        with self._lock:
            self._done += 1
            if self._is_quiet and result.status is not ImageStatus.FAILED:
                return
            amount = f", {size(result.bytes_copied)}" if result.bytes_copied else ""
            error = f": {result.error}" if result.error else ""
            word = _WORDS[result.status]
            self._write(f"{result.destination} {word}{amount} ({self._count()}){error}")

    def wait(self, host: str, seconds: float, reason: str) -> None:
        """Print until when a host is not used."""
        until = time.time() + seconds
        with self._lock:
            self._waits[host] = self._clock() + seconds
            clock = time.strftime("%H:%M:%S", time.localtime(until))
            self._write(f"waiting for {host} until {clock}: {reason}")

    def close(self) -> None:
        """Erase the status line."""
        if self._is_terminal:
            self._stream.write(_ERASE_LINE)
            self._stream.flush()

    def _advance(self, count_bytes: int) -> None:
        with self._lock:
            self._bytes += count_bytes
            now = self._clock()
            if self._is_quiet or now - self._shown_at < self._interval_seconds:
                return
            self._shown_at = now
            if self._is_terminal:
                # of a line that wraps, only the last row would be erased
                status = self._status()[: self._columns() - 1]
                self._stream.write(f"{_ERASE_LINE}{status}")
                self._stream.flush()
            else:
                self._write(self._status())

    def _retry(self, error: TransientError) -> None:
        if not self._is_quiet:
            self.show(retry_line(error))

    @property
    def _interval_seconds(self) -> float:
        return _STATUS_SECONDS if self._is_terminal else _LINE_SECONDS

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _DEFAULT_COLUMNS
        except OSError:
            return _DEFAULT_COLUMNS

    def _status(self) -> str:
        seconds = max(self._clock() - self._began_at, 1e-3)
        waiting = [host for host, until in self._waits.items() if until > self._clock()]
        rest = f", waiting for {', '.join(waiting)}" if waiting else ""
        return f"{self._count()}, {size(self._bytes)}, {size(self._bytes / seconds)}/s{rest}"

    def _count(self) -> str:
        return f"{self._done} of {count_images(self._total)}"

    def _write(self, line: str) -> None:
        # in one piece, so that lines of several threads do not mix
        erased = _ERASE_LINE if self._is_terminal else ""
        self._stream.write(f"{erased}{line}\n")
        self._stream.flush()


class _ImageProgress(NullDisplay):
    """Reports the number of received bytes, and retries."""

    def __init__(
        self, advance: Callable[[int], None], retry: Callable[[TransientError], None]
    ) -> None:
        self._advance = advance
        self._retry = retry

    def advance(self, blob: Descriptor, count_bytes: int) -> None:  # noqa: ARG002 - the port's
        """Count bytes."""
        self._advance(count_bytes)

    def retry(self, error: TransientError) -> None:
        """Print the error before the wait for a retry."""
        self._retry(error)
