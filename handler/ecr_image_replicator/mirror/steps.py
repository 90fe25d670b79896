"""The steps of a mirror that runs over several invocations: choose, copy, summarise.

The state machine calls the steps. All state is in a store under the run's keys.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.errors import ReplicationError, RequestError
from ecr_image_replicator.mirror.items import WorkItem, make_items, whole_seconds
from ecr_image_replicator.mirror.known import KnownImages
from ecr_image_replicator.mirror.preparation import COMPARE_SECONDS, prepare
from ecr_image_replicator.mirror.report import (
    ChoiceSummary,
    choice_lines,
    remember_unchanged,
)
from ecr_image_replicator.mirror.results import ImageResult, ImageStatus, error_text, image_result
from ecr_image_replicator.mirror.worker import RepositoryWorker
from ecr_image_replicator.propagation import PermissionPropagation
from ecr_image_replicator.request.mirror_parsing import parse_mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.mirror.preparation import Preparation
    from ecr_image_replicator.mirror.state import Run, StateStore
    from ecr_image_replicator.replicate import Replicator
    from ecr_image_replicator.request.mirror import MirrorEntry, MirrorRequest

_LOGGER: Final = logging.getLogger(__name__)
#: Time reserved for writing the results of the comparison.
_WRITE_SECONDS: Final = 30.0
# Fields that a stored event has beside CloudFormation's.
#: Whether a schedule started the run.
SCHEDULED: Final = "Scheduled"
_STARTED_AT: Final = "StartedAt"
_NOT_AFTER: Final = "NotAfter"
KILLED: Final = "its worker was killed"


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A stored request for a run.

    Attributes
    ----------
    event
        CloudFormation's event, without ResponseURL after the response.
    started_at_seconds, not_after_seconds
        Start and end of the run, in seconds since 1970.
    """

    event: dict[str, Any]
    started_at_seconds: float
    not_after_seconds: float

    def render(self) -> bytes:
        """Return the stored form: the event with the run's times."""
        times = {_STARTED_AT: self.started_at_seconds, _NOT_AFTER: self.not_after_seconds}
        return json.dumps({**self.event, **times}).encode()

    @classmethod
    def read(cls, store: StateStore, run: Run) -> StoredRequest:
        """Read a run's request.

        Raises
        ------
        RequestError
            There is no request, since the mirror was deleted.
        """
        content = store.read(run.request)
        if content is None:
            raise RequestError("invalid Run: its state does not exist, the mirror was deleted")
        event = json.loads(content)
        return cls(event, event.pop(_STARTED_AT), event.pop(_NOT_AFTER))

    @property
    def response_url(self) -> str:
        """The response URL, "" if CloudFormation waits for no response."""
        return str(self.event.get("ResponseURL") or "")

    @property
    def is_scheduled(self) -> bool:
        """Whether a schedule started the run."""
        return SCHEDULED in self.event

    def mirror(self) -> MirrorRequest:
        """Parse the properties.

        Raises
        ------
        RequestError
            The properties are invalid.
        """
        return parse_mirror(self.event.get("ResourceProperties") or {})


@dataclass(frozen=True, slots=True)
class HostItems:
    """The key of one source host's work items and their concurrency limit."""

    host: str
    key: str
    concurrency: int

    def as_json(self, bucket: str) -> dict[str, Any]:
        """Return the input of the host's branch."""
        return {
            "Host": self.host,
            "Bucket": bucket,
            "Key": self.key,
            "MaxConcurrency": self.concurrency,
        }


@dataclass(frozen=True, slots=True)
class Chosen:
    """The result of the selection step.

    Attributes
    ----------
    error
        The error that prevents the selection, or "".
    """

    request: StoredRequest
    summary: ChoiceSummary
    hosts: tuple[HostItems, ...] = ()
    error: str = ""


class MirrorSteps:
    """The steps of runs, in one process.

    Parameters
    ----------
    replicator
        The engine, cached between invocations.
    store
        The store of the state.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        replicator: Replicator,
        store: StateStore,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._replicator = replicator
        self._store = store
        self._clock = clock
        #: The request of the last run, which does not change.
        self._last: tuple[Run, MirrorRequest] | None = None

    def choose(self, run: Run, deadline: Deadline) -> Chosen:
        """Select and compare images, and store the work items of each host.

        An invalid mirror is a result, not an exception.
        """
        request = StoredRequest.read(self._store, run)
        known = KnownImages.parse(self._store.read(run.known))
        try:
            mirror = request.mirror()
            began_at = None if request.is_scheduled else request.started_at_seconds
            preparation = self.prepare(
                mirror,
                known,
                deadline,
                began_at_seconds=began_at,
                run_seconds_left=request.not_after_seconds - self._clock(),
            )
        except ReplicationError as error:
            message = error_text(error)
            self.reject(run, message)
            return Chosen(request, ChoiceSummary(), error=message)
        platforms = self._replicator.settings.default_platforms
        remember_unchanged(known, preparation, platforms)
        self._store.write(run.known, known.render())
        items = make_items(preparation, run, request.not_after_seconds)
        hosts = []
        for host, own in items.items():
            content = json.dumps([item.body() for item in own]).encode()
            self._store.write(run.items(host), content)
            hosts.append(HostItems(host, run.items(host), mirror.concurrency_of(host)))
        summary = ChoiceSummary.of(preparation)
        document = {
            **summary.as_json(),
            "Items": [
                {"Host": item.host, "Item": item.number, "Count": len(item.images)}
                for own in items.values()
                for item in own
            ],
        }
        self._write(run.choice, document)
        return Chosen(request, summary, tuple(hosts))

    def reject(self, run: Run, message: str) -> None:
        """Store the error that prevents the run, for its summary."""
        _LOGGER.warning("cannot choose: %s", message)
        self._write(run.choice, {"Error": message})

    def prepare(
        self,
        mirror: MirrorRequest,
        known: KnownImages,
        deadline: Deadline,
        *,
        began_at_seconds: float | None,
        run_seconds_left: float = float("inf"),
    ) -> Preparation:
        """Select and compare images within the time of an invocation.

        Parameters
        ----------
        began_at_seconds
            When the Create or Update began, in seconds since 1970: shortly afterwards a denial by
            AWS is retried. None if a denial is final.
        run_seconds_left
            Remaining time of the whole run.
        """
        seconds = min(
            COMPARE_SECONDS,
            max(1.0, deadline.remaining_seconds - _WRITE_SECONDS),
            max(0.0, run_seconds_left),
        )
        propagation = None
        if began_at_seconds is not None:
            propagation = PermissionPropagation.since(
                began_at_seconds,
                self._replicator.settings.propagation_seconds,
                deadline,
                clock=self._clock,
            )
        return prepare(
            self._replicator,
            mirror,
            known,
            deadline,
            compare_seconds=seconds,
            propagation=propagation,
        )

    def preview(self, run: Run, mirror: MirrorRequest, deadline: Deadline) -> ChoiceSummary:
        """Select and compare images and write the selection as the report, without copying."""
        known = KnownImages.parse(self._store.read(run.known))
        preparation = self.prepare(mirror, known, deadline, began_at_seconds=self._clock())
        summary = ChoiceSummary.of(preparation)
        choice = list(choice_lines(preparation))
        for line in choice[:100]:
            _LOGGER.info("dry run", extra={"choice": line})
        self._write(run.report, {"Choice": choice, "Warnings": list(summary.warnings)})
        return summary

    def copy(self, item: WorkItem, retries: int, deadline: Deadline) -> dict[str, Any]:
        """Copy images of an item and return the event of the next invocation.

        Parameters
        ----------
        retries
            How often Step Functions has retried this step: above 0, the last worker may have been
            killed.
        deadline
            The deadline of this invocation.

        Returns
        -------
        dict
            Empty if the item is finished, else its next event with WaitSeconds.
        """
        entry = self._entry(item)
        item = replace(item, host=item.host or entry.source_host)
        done: list[ImageResult] = []
        if retries:
            stored = self._store.read(item.run.result(item.host, item.number, item.part))
            if stored is not None:
                output: dict[str, Any] = json.loads(stored)["Output"]
                return output
            item, done = self._after_kill(item)
        worker = RepositoryWorker(
            self._replicator,
            entry,
            deadline,
            progress=lambda: LoggedProgress(self._replicator.settings.progress_interval_seconds),
            before_image=lambda position, results: self._write_position(item, position, results),
            run_seconds_left=lambda: item.not_after_seconds - self._clock(),
        )
        outcome = worker.run(item.images, item.position, tries=item.tries, results=done)
        output = {}
        if outcome.wait_seconds is not None:
            following = item.after(outcome.position, outcome.tries)
            output = {**following.body(), "WaitSeconds": whole_seconds(outcome.wait_seconds)}
            _LOGGER.info(
                "continues later",
                extra={"wait_seconds": outcome.wait_seconds, "reason": outcome.reason},
            )
        self._write(
            item.run.result(item.host, item.number, item.part),
            {
                "Host": item.host,
                "Item": item.number,
                "Part": item.part,
                "Results": [each.as_json() for each in outcome.results],
                "Finished": not output,
                "Output": output,
            },
        )
        return output

    def _after_kill(self, item: WorkItem) -> tuple[WorkItem, list[ImageResult]]:
        """Continue after the image whose worker was killed, and report that image as failed."""
        content = self._store.read(item.run.position(item.host, item.number))
        document = json.loads(content) if content is not None else None
        if document is None or document["Part"] != item.part:
            return item, []
        done = [ImageResult.from_json(each) for each in document["Results"]]
        position = document["Position"]
        done.append(killed_result(self._entry(item), item, position))
        return replace(item, position=position + 1, tries=0), done

    def _write_position(
        self, item: WorkItem, position: int, results: Sequence[ImageResult]
    ) -> None:
        document = {
            "Host": item.host,
            "Item": item.number,
            "Part": item.part,
            "Position": position,
            "Results": [each.as_json() for each in results],
        }
        self._write(item.run.position(item.host, item.number), document)

    def _entry(self, item: WorkItem) -> MirrorEntry:
        """Return the entry of an item in the stored request.

        Raises
        ------
        RequestError
            The entry of the item does not exist.
        """
        run = item.run
        if self._last is None or self._last[0] != run:
            self._last = run, StoredRequest.read(self._store, run).mirror()
        entries = self._last[1].entries
        if item.entry >= len(entries):
            raise RequestError(f"invalid Entry {item.entry}: the mirror has {len(entries)}")
        return entries[item.entry]

    def _write(self, key: str, document: object) -> None:
        self._store.write(key, json.dumps(document).encode())


def killed_result(
    entry: MirrorEntry, item: WorkItem, position: int, error: str = KILLED
) -> ImageResult:
    """Return the result of an image whose worker was killed."""
    image = item.images[position]
    return image_result(entry, image, ImageStatus.FAILED, error=error, kind="Killed")
