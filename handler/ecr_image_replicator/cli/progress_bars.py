"""Progress bars on a terminal, by rich: one for each blob in flight, and one for the total."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ecr_image_replicator.cli.display import NullDisplay, name_of, retry_line
from ecr_image_replicator.copy.progress import ProgressCounter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ecr_image_replicator.copy.ports import BlobOutcome
    from ecr_image_replicator.errors import TransientError
    from ecr_image_replicator.model.manifests import Descriptor

_FRAMES_PER_SECOND: Final = 8


class ProgressBars(NullDisplay):
    """Shows a copy's progress as bars.

    Parameters
    ----------
    progress
        A display of rich, which was started.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._counter = ProgressCounter()
        self._lock = threading.Lock()
        self._tasks: dict[Descriptor, TaskID] = {}
        self._all = progress.add_task("", total=None, visible=False)

    def show(self, line: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def plan(self, blobs: Iterable[Descriptor]) -> None:
        """Add the blobs to the total."""
        self._counter.plan(blobs)
        self._update()

    def start(self, blob: Descriptor) -> None:
        """Show a bar for the blob, or reset its bar."""
        self._counter.start(blob)
        with self._lock:
            if blob in self._tasks:
                self._progress.reset(self._tasks[blob])
            else:
                self._tasks[blob] = self._progress.add_task(name_of(blob), total=blob.size_bytes)

    def advance(self, blob: Descriptor, count_bytes: int) -> None:
        """Update the bars of the blob and of the total."""
        count = self._counter.advance(blob, count_bytes)
        with self._lock:
            task = self._tasks.get(blob)
        if task is not None:
            self._progress.update(task, completed=count)
        self._update()

    def finish(self, blob: Descriptor, outcome: BlobOutcome) -> None:
        """Remove the blob's bar."""
        self._counter.finish(blob, outcome)
        with self._lock:
            task = self._tasks.pop(blob, None)
        if task is not None:
            self._progress.remove_task(task)
        self._update()

    def make(self, stored: Descriptor, blob: Descriptor) -> None:
        """Count the stored blob and the one that is made from it as one."""
        self._counter.make(stored, blob)

    def retry(self, error: TransientError) -> None:
        """Print the error before the wait for a retry."""
        self.show(retry_line(error))

    def summary(self) -> str:
        """Describe the progress."""
        return str(self._counter.totals())

    def _update(self) -> None:
        totals = self._counter.totals()
        self._progress.update(
            self._all,
            visible=True,
            total=totals.total_bytes,
            completed=totals.done_bytes,
            description=f"{totals.done_blobs} of {totals.total_blobs} blobs",
        )


@contextmanager
def opened_bars(stream: TextIO) -> Iterator[ProgressBars]:
    """Show bars on a terminal, and remove them at the end."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(file=stream, emoji=False),  # `app:fire:` has a tag
        refresh_per_second=_FRAMES_PER_SECOND,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with progress:
        yield ProgressBars(progress)
