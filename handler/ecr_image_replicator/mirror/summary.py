"""The summary of a run: the results of all workers, including killed ones."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.mirror.items import WorkItem
from ecr_image_replicator.mirror.known import KnownImages, OptionFingerprints
from ecr_image_replicator.mirror.report import ChoiceSummary, MirrorReport, remember_digests
from ecr_image_replicator.mirror.results import ImageResult
from ecr_image_replicator.mirror.steps import KILLED, StoredRequest, killed_result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ecr_image_replicator.mirror.state import Run, StateStore
    from ecr_image_replicator.model.platforms import Platform
    from ecr_image_replicator.request.mirror import MirrorRequest

_LOGGER: Final = logging.getLogger(__name__)
_READS_AT_ONCE: Final = 8
NOT_CHOSEN: Final = "choosing the images failed: its worker was killed"
_Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The report of a run.

    Attributes
    ----------
    mirror
        The mirror, None if its properties are invalid.
    error
        The error that prevented the selection, or "".
    """

    request: StoredRequest
    report: MirrorReport
    mirror: MirrorRequest | None = None
    error: str = ""

    @property
    def is_exceeded(self) -> bool:
        """Whether the number of failures exceeds the limit."""
        allowed = self.mirror.max_failures if self.mirror else 0
        return bool(self.error) or len(self.report.failed) > allowed


def summarise(
    store: StateStore, run: Run, default_platforms: Sequence[Platform], *, now: float
) -> RunSummary:
    """Read all results of a run, write its report and record digests.

    Raises
    ------
    RequestError
        The run's state does not exist.
    """
    request = StoredRequest.read(store, run)
    content = store.read(run.choice)
    choice: dict[str, Any] = {"Error": NOT_CHOSEN}
    if content is not None:
        choice = json.loads(content)
    details = {
        "Run": str(run),
        "StartedAt": _time(request.started_at_seconds),
        "FinishedAt": _time(now),
    }
    duration_seconds = now - request.started_at_seconds
    if "Error" in choice:
        report = MirrorReport(ChoiceSummary(), (), duration_seconds, details)
        document = {**report.as_json(), "Error": choice["Error"]}
        store.write(run.report, json.dumps(document, indent=1).encode())
        return RunSummary(request, report, error=choice["Error"])
    mirror = request.mirror()
    results = tuple(_Collector(store, run, mirror).collect(choice["Items"]))
    summary = ChoiceSummary.from_json(choice)
    report = MirrorReport(summary, results, duration_seconds, details)
    store.write(run.report, json.dumps(report.as_json(), indent=1).encode())
    known = KnownImages.parse(store.read(run.known))
    remember_digests(known, OptionFingerprints(mirror, default_platforms), results)
    store.write(run.known, known.render())
    _LOGGER.info("summary", extra={"result": report.values()})
    return RunSummary(request, report, mirror)


class _Collector:
    """Collects the results of all workers."""

    def __init__(self, store: StateStore, run: Run, mirror: MirrorRequest) -> None:
        self._store = store
        self._run = run
        self._mirror = mirror

    def collect(self, items: Sequence[Mapping[str, Any]]) -> Iterator[ImageResult]:
        """Yield one result for each image of each item."""
        parts: dict[_Place, list[dict[str, Any]]] = {}
        for document in self._read_all(self._run.results):
            parts.setdefault((document["Host"], document["Item"]), []).append(document)
        unfinished: list[_Place] = []
        for item in items:
            place = item["Host"], item["Item"]
            own = sorted(parts.get(place, []), key=lambda each: int(each["Part"]))
            parts[place] = own
            for document in own:
                yield from map(ImageResult.from_json, document["Results"])
            if not own or not own[-1]["Finished"]:
                unfinished.append(place)
        if unfinished:
            yield from self._collect_unfinished(unfinished, parts)

    def _collect_unfinished(
        self, places: Sequence[_Place], parts: Mapping[_Place, Sequence[Mapping[str, Any]]]
    ) -> Iterator[ImageResult]:
        """Yield results of workers that were killed permanently."""
        positions = {
            (each["Host"], each["Item"]): each for each in self._read_all(self._run.progress)
        }
        items: dict[_Place, WorkItem] = {}
        for host in {host for host, _ in places}:
            content = self._store.read(self._run.items(host))
            for body in json.loads(content) if content is not None else []:
                item = WorkItem.parse(body["Mirror"])
                items[host, item.number] = item
        for place in places:
            if place not in items:
                continue
            item = items[place]
            own = parts[place]
            begun = sum(len(each["Results"]) for each in own)
            position = positions.get(place)
            if position is not None and position["Part"] == len(own):
                results = [ImageResult.from_json(each) for each in position["Results"]]
                yield from results
                begun += len(results)
            entry = self._mirror.entries[item.entry]
            for index in range(begun, len(item.images)):
                error = KILLED if index == begun else f"{KILLED} before this image was begun"
                yield killed_result(entry, item, index, error)

    def _read_all(self, prefix: str) -> list[dict[str, Any]]:
        keys = self._store.find_keys(prefix)
        with ThreadPoolExecutor(_READS_AT_ONCE, "results") as pool:
            contents = list(pool.map(self._store.read, keys))
        return [json.loads(content) for content in contents if content is not None]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
