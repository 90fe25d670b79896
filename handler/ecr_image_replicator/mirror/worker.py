"""Copying the images of one repository pair, one after the other.

Images of one repository share layers, so one worker with warm connections copies all of them.
At its deadline or at a rate limit, a worker returns the position of the next image and the
seconds to wait before it. The caller invokes it again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import (
    OutOfTimeError,
    ReplicationError,
    StoppedError,
    ThrottledError,
    TransientError,
    UnavailableError,
)
from ecr_image_replicator.mirror.recorder import ProgressRecorder
from ecr_image_replicator.mirror.results import ImageStatus, error_text, image_result
from ecr_image_replicator.model.archive_references import ArchiveReference
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.sanitize import raised_at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ecr_image_replicator.copy.ports import Progress
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.mirror.compare import MirrorImage
    from ecr_image_replicator.mirror.results import ImageResult
    from ecr_image_replicator.model.manifests import Descriptor
    from ecr_image_replicator.replicate import Replicator
    from ecr_image_replicator.request.mirror import MirrorEntry
    from ecr_image_replicator.request.parsing import ReplicationRequest

_LOGGER: Final = logging.getLogger(__name__)
#: Minimum remaining time for starting an image.
_MIN_SECONDS: Final = 3.0
#: Wait at a rate limit without Retry-After. Doubled each time.
_FIRST_WAIT_SECONDS: Final = 60.0
_MAX_WAIT_SECONDS: Final = 1800.0
#: Maximum number of invocations of an image if the last one copied no blob.
_MAX_TRIES: Final = 3
#: Images in a row whose host did not respond; the others of the repository are not tried.
_MAX_UNREACHABLE: Final = 3


@dataclass(frozen=True, slots=True)
class WorkerOutcome:
    """The outcome of a worker's invocation.

    Attributes
    ----------
    results
        Results of the finished images.
    position
        Position of the next image, or the number of images if all are finished.
    wait_seconds
        Seconds to wait before the next image, None if all are finished.
    tries
        Number of previous attempts of the next image.
    reason
        The reason for the wait, for logs.
    """

    results: tuple[ImageResult, ...]
    position: int
    wait_seconds: float | None = None
    tries: int = 0
    reason: str = ""


class RepositoryWorker:
    """Copies images of one entry of a mirror.

    Parameters
    ----------
    replicator
        The engine, with warm connections.
    entry
        Source, destination and options of the images.
    deadline
        The deadline of this invocation.
    progress
        Creates the progress of one image.
    before_image
        Called before each image with its position and the results so far.
    run_seconds_left
        Returns the remaining time of the whole run.
    most_streams
        Maximum number of parallel blobs, None for the function's setting.
    """

    def __init__(
        self,
        replicator: Replicator,
        entry: MirrorEntry,
        deadline: Deadline,
        *,
        progress: Callable[[], Progress],
        before_image: Callable[[int, Sequence[ImageResult]], None] = lambda *_: None,
        run_seconds_left: Callable[[], float] = lambda: float("inf"),
        most_streams: int | None = None,
    ) -> None:
        self._replicator = replicator
        self._entry = entry
        self._deadline = deadline
        self._progress = progress
        self._before_image = before_image
        self._run_seconds_left = run_seconds_left
        self._most_streams = most_streams
        self._known_blobs: dict[Digest, Descriptor] = {}
        self._unreachable = 0
        self._archives = {str(source): source for source, _ in entry.images}

    def run(
        self,
        images: Sequence[MirrorImage],
        position: int = 0,
        *,
        tries: int = 0,
        results: Sequence[ImageResult] = (),
    ) -> WorkerOutcome:
        """Copy the images from a position.

        Parameters
        ----------
        tries
            Number of previous attempts of the first image.
        results
            Results of earlier images.

        Raises
        ------
        StoppedError
            The deadline was stopped.
        """
        done = list(results)
        while position < len(images):
            if self._run_seconds_left() <= 0:
                return self._leave(images, position, done, "the run's time is over")
            if self._unreachable >= _MAX_UNREACHABLE:
                return self._give_up(images, position, done)
            if self._deadline.remaining_seconds < _MIN_SECONDS:
                return WorkerOutcome(tuple(done), position, 0.0, tries)
            self._before_image(position, done)
            recorder = ProgressRecorder(self._progress())
            try:
                done.append(self._copy(images[position], recorder, is_first_try=not tries))
            except (ThrottledError, OutOfTimeError) as error:
                if (left := self._left_after(error, tries)) is not None:
                    return self._leave(images, position, done, left)
                seconds = _throttle_seconds(error, tries)
                if seconds is not None or tries + 1 < _MAX_TRIES or recorder.blobs_copied:
                    reason = error_text(error, self._entry)
                    return WorkerOutcome(tuple(done), position, seconds or 0.0, tries + 1, reason)
                done.append(
                    self._failed(images[position], error_text(error, self._entry), error.kind)
                )
            position, tries = position + 1, 0
        return WorkerOutcome(tuple(done), position)

    def _copy(
        self, image: MirrorImage, recorder: ProgressRecorder, *, is_first_try: bool
    ) -> ImageResult:
        """Copy an image. Errors of registries are results.

        An interrupted attempt can have pushed the tags, so the next one reads them.

        Raises
        ------
        ThrottledError, OutOfTimeError
            A later attempt can succeed.
        StoppedError
            The deadline was stopped.
        """
        deadline = self._deadline.branch(self._run_seconds_left())
        try:
            outcome = self._replicator.replicate(
                self._request(image),
                deadline=deadline,
                progress=recorder,
                known_blobs=self._known_blobs,
                absent_tags=image.destination_tags if image.is_new and is_first_try else (),
            )
        except (ThrottledError, OutOfTimeError, StoppedError):
            raise
        except ReplicationError as error:
            if self._deadline.is_stopped:
                raise StoppedError("stopped") from error
            is_unreachable = isinstance(error, UnavailableError) and not error.status
            self._unreachable = self._unreachable + 1 if is_unreachable else 0
            return self._failed(image, error_text(error, self._entry), error.kind)
        except Exception as error:  # noqa: BLE001 - a defect in one image must not stop the others
            return self._failed(image, _defect(error), "Defect")
        self._unreachable = 0
        status = ImageStatus.COPIED if outcome.changed else ImageStatus.UNCHANGED
        return replace(
            image_result(self._entry, image, status),
            source_digest=image.digest or recorder.pinned or outcome.digest,
            destination_digest=outcome.digest,
            bytes_copied=outcome.report.bytes_copied,
        )

    def _request(self, image: MirrorImage) -> ReplicationRequest:
        template = self._entry.template
        first, *others = image.destination_tags
        source = template.source
        if isinstance(source, ArchiveReference):
            source = self._archives.get(image.selector, source)
        elif ":" in image.selector:
            source = source._replace(tag="", digest=Digest.parse(image.selector))
        else:
            source = source._replace(tag=image.selector, digest=image.digest)
        return replace(
            template,
            source=source,
            destination=template.destination._replace(tag=first),
            tags=tuple(others),
            most_streams=self._most_streams,
        )

    def _failed(self, image: MirrorImage, error: str, kind: str) -> ImageResult:
        result = image_result(self._entry, image, ImageStatus.FAILED, error=error, kind=kind)
        _LOGGER.warning("cannot mirror %s: %s", result.source, error)
        return result

    def _left_after(self, error: ReplicationError, tries: int) -> str | None:
        """Return the reason to skip the rest, None if the run's time allows another attempt."""
        wait_seconds = _throttle_seconds(error, tries) or _MIN_SECONDS
        return error_text(error, self._entry) if wait_seconds >= self._run_seconds_left() else None

    def _leave(
        self, images: Sequence[MirrorImage], position: int, done: list[ImageResult], why: str
    ) -> WorkerOutcome:
        left = [
            image_result(self._entry, image, ImageStatus.LEFT, error=why)
            for image in images[position:]
        ]
        return WorkerOutcome((*done, *left), len(images))

    def _give_up(
        self, images: Sequence[MirrorImage], position: int, done: list[ImageResult]
    ) -> WorkerOutcome:
        """Fail the rest of a repository whose host does not respond."""
        last = done[-1]
        error = f"not tried after {_MAX_UNREACHABLE} images in a row that failed. {last.error}"
        rest = [
            image_result(self._entry, image, ImageStatus.FAILED, error=error, kind=last.kind)
            for image in images[position:]
        ]
        _LOGGER.warning("%d images are not tried: %s", len(rest), last.error)
        return WorkerOutcome((*done, *rest), len(images))


def _throttle_seconds(error: ReplicationError, tries: int) -> float | None:
    """Return the wait for a rate limit, None for other errors."""
    cause = error.__cause__
    if isinstance(error, ThrottledError):
        after_seconds = error.retry_after_seconds
    elif isinstance(cause, TransientError) and cause.is_throttle:
        after_seconds = cause.retry_after_seconds
    else:
        return None
    doubled = 2.0 ** min(tries, 10)
    if after_seconds is None:
        return min(_MAX_WAIT_SECONDS, _FIRST_WAIT_SECONDS * doubled)
    # an execution has at most 25,000 events: a limit that lasts longer than it says needs few waits
    least_seconds = min(_FIRST_WAIT_SECONDS, doubled) if tries else 0.0
    return max(after_seconds, least_seconds)


def _defect(error: Exception) -> str:
    """Describe an unexpected exception by its location, since its message can contain secrets."""
    place = raised_at(error)
    _LOGGER.error("defect", extra={"kind": type(error).__name__, "place": place})
    return f"internal error: {type(error).__name__} at {place}. Report it as a defect."
