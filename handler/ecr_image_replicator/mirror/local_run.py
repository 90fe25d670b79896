"""A whole mirror in one process: repositories in parallel, with a limit per source host."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Protocol

from ecr_image_replicator.errors import StoppedError
from ecr_image_replicator.mirror.compare import ComparisonStatus
from ecr_image_replicator.mirror.known import OptionFingerprints
from ecr_image_replicator.mirror.preparation import prepare
from ecr_image_replicator.mirror.report import (
    ChoiceSummary,
    MirrorReport,
    remember_digests,
    remember_unchanged,
)
from ecr_image_replicator.mirror.results import ImageStatus, image_result
from ecr_image_replicator.mirror.worker import RepositoryWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecr_image_replicator.copy.ports import Progress
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.mirror.compare import MirrorImage
    from ecr_image_replicator.mirror.known import KnownImages
    from ecr_image_replicator.mirror.preparation import Preparation, PreparedEntry
    from ecr_image_replicator.mirror.results import ImageResult
    from ecr_image_replicator.replicate import Replicator
    from ecr_image_replicator.request.mirror import MirrorRequest

#: Concurrent copies over all hosts. Each needs the memory of one image.
_MAX_WORKERS: Final = 8


class MirrorDisplay(Protocol):
    """Shows the progress of a mirror. Must be thread-safe."""

    def prepared(self, preparation: Preparation) -> None:
        """Show the images to copy."""

    def image_progress(self) -> Progress:
        """Return the progress display of an image."""

    def image_done(self, result: ImageResult) -> None:
        """Show the result of an image."""

    def wait(self, host: str, seconds: float, reason: str) -> None:
        """Show that a host is not used for this time."""


class LocalRun:
    """Runs a mirror in this process.

    Parameters
    ----------
    replicator
        The engine.
    mirror
        What to copy.
    known
        Digests of earlier runs. This run adds its own.
    deadline
        Limits the run, and stops it.
    display
        Shows the progress.
    """

    def __init__(
        self,
        replicator: Replicator,
        mirror: MirrorRequest,
        known: KnownImages,
        deadline: Deadline,
        display: MirrorDisplay,
    ) -> None:
        self._replicator = replicator
        self._mirror = mirror
        self._known = known
        self._options = OptionFingerprints(mirror, replicator.settings.default_platforms)
        self._deadline = deadline
        self._display = display
        self._lock = threading.Lock()
        self._results: list[ImageResult] = []
        self._choice = ChoiceSummary()
        self._began_at = time.monotonic()
        self._streams = 1

    def prepare(self) -> Preparation:
        """Select and compare images.

        Raises
        ------
        ReplicationError
            The mirror is invalid, or the deadline was stopped.
        """
        preparation = prepare(self._replicator, self._mirror, self._known, self._deadline)
        self._choice = ChoiceSummary.of(preparation)
        remember_unchanged(self._known, preparation, self._replicator.settings.default_platforms)
        self._display.prepared(preparation)
        return preparation

    def copy(self, preparation: Preparation) -> MirrorReport:
        """Copy the changed images. The report has those that failed.

        Raises
        ------
        StoppedError
            The deadline was stopped.
        """
        hosts: dict[str, list[PreparedEntry]] = {}
        for prepared in preparation.entries:
            if prepared.with_status(ComparisonStatus.CHANGED, ComparisonStatus.UNCOMPARED):
                hosts.setdefault(prepared.entry.source_host, []).append(prepared)
        sizes = {
            host: min(len(entries), self._mirror.concurrency_of(host))
            for host, entries in hosts.items()
        }
        workers = max(1, min(_MAX_WORKERS, sum(sizes.values())))
        self._streams = max(2, self._replicator.settings.streams // workers)
        turns = threading.Semaphore(workers)
        with ExitStack() as stack:
            futures = []
            for host, entries in hosts.items():
                pool = stack.enter_context(ThreadPoolExecutor(sizes[host], f"mirror-{host}"))
                futures += [pool.submit(self._copy_entry, each, turns) for each in entries]
            for future in futures:
                future.result()
        return self.report()

    def report(self) -> MirrorReport:
        """Return the report of the results so far."""
        with self._lock:
            results = tuple(self._results)
        return MirrorReport(self._choice, results, time.monotonic() - self._began_at)

    def _copy_entry(self, prepared: PreparedEntry, turns: threading.Semaphore) -> None:
        images = [
            each.image
            for each in prepared.with_status(ComparisonStatus.CHANGED, ComparisonStatus.UNCOMPARED)
        ]
        shown: list[ImageResult] = []
        try:
            self._copy_images(prepared, images, shown, turns)
        except StoppedError:
            left = [
                image_result(prepared.entry, each, ImageStatus.LEFT, error="the run was stopped")
                for each in images[len(shown) :]
            ]
            with self._lock:
                self._results += left
            raise

    def _copy_images(
        self,
        prepared: PreparedEntry,
        images: Sequence[MirrorImage],
        shown: list[ImageResult],
        turns: threading.Semaphore,
    ) -> None:
        worker = RepositoryWorker(
            self._replicator,
            prepared.entry,
            self._deadline,
            progress=self._display.image_progress,
            before_image=lambda _, results: self._show(results, shown),
            run_seconds_left=lambda: self._deadline.remaining_seconds,
            most_streams=self._streams,
        )
        position = tries = 0
        done: Sequence[ImageResult] = ()
        while position < len(images):
            with turns:
                self._deadline.check("copy images")
                outcome = worker.run(images, position, tries=tries, results=done)
            done, position, tries = outcome.results, outcome.position, outcome.tries
            self._show(done, shown)
            if outcome.wait_seconds:
                self._display.wait(prepared.entry.source_host, outcome.wait_seconds, outcome.reason)
                self._deadline.wait(outcome.wait_seconds)

    def _show(self, results: Sequence[ImageResult], shown: list[ImageResult]) -> None:
        """Store and show new results of an entry."""
        new = results[len(shown) :]
        shown += new
        with self._lock:
            self._results += new
            remember_digests(self._known, self._options, new)
        for result in new:
            self._display.image_done(result)
