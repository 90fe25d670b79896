"""The steps of a mirror over several invocations, against registries on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from local.registry import (
    BearerAuthentication,
    ErrorCode,
    Operation,
    RegistryError,
    RegistryServer,
    SpecificationPolicy,
)
from local.registry.store import Store
from local.web import Request
from tests.functional.mirror_fixtures import MemoryStore, methods, put_tags

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.mirror.items import WorkItem
from ecr_image_replicator.mirror.state import Run
from ecr_image_replicator.mirror.steps import MirrorSteps, StoredRequest
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.logins import Login
from ecr_image_replicator.request.settings import Settings

Start = Callable[..., RegistryServer]
RUN = Run("0" * 32, "first")
NOW = 1_000_000.0
LOGIN = Login("ann", "open-sesame", "a stored login")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def steps(store: MemoryStore) -> Iterator[MirrorSteps]:
    replicator = Replicator(Settings(plain_http=("127.0.0.1",)), find_login=lambda _: LOGIN)
    yield MirrorSteps(replicator, store, clock=lambda: NOW)
    replicator.close()


def _store_request(
    store: MemoryStore, source: RegistryServer, destination: RegistryServer, seconds: float = 3600
) -> None:
    entry = {
        "SrcRepository": f"{source.host}/team/app",
        "DestRepository": f"{destination.host}/mirror/{{name}}",
    }
    event = {"RequestId": "1", "ResourceProperties": {"Repositories": [entry]}}
    store.write(RUN.request, StoredRequest(event, NOW, NOW + seconds).render())


def _build_item(*tags: str, seconds: float = 3600, **more: Any) -> dict[str, Any]:
    """Return a work item with the required fields only."""
    images = [[tag, "", [tag]] for tag in tags]
    return {
        "Step": "Copy",
        "Run": str(RUN),
        "Entry": 0,
        "Images": images,
        "NotAfter": NOW + seconds,
        "Part": 0,
        **more,
    }


def test_the_stored_request_is_the_event_with_the_times_of_the_run(
    store: MemoryStore, registries: Start
) -> None:
    _store_request(store, registries(), registries())

    document = json.loads(store.objects[RUN.request])

    assert document["RequestId"] == "1"
    assert (document["StartedAt"], document["NotAfter"]) == (NOW, NOW + 3600)
    assert StoredRequest.read(store, RUN).event.keys() == {"RequestId", "ResourceProperties"}


def test_a_work_item_without_host_and_item_is_copied(
    steps: MirrorSteps, store: MemoryStore, registries: Start
) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1"])
    _store_request(store, source, destination)

    output = steps.copy(WorkItem.parse(_build_item("1", "2")), 0, Deadline(60))

    assert output == {}
    host = source.host.replace(":", "_")
    results = json.loads(store.objects[f"{RUN.results}{host}-00000-00000.json"])
    assert [each["Status"] for each in results["Results"]] == ["Copied", "Failed"]
    assert set(destination.store.tags("mirror/app")) == {"1"}


def test_an_entry_that_is_not_in_the_request_is_invalid(
    steps: MirrorSteps, store: MemoryStore, registries: Start
) -> None:
    _store_request(store, registries(), registries())

    with pytest.raises(RequestError, match="invalid Entry 1"):
        steps.copy(WorkItem.parse(_build_item("1", Entry=1)), 0, Deadline(60))


class _DelayedBlobsPolicy(SpecificationPolicy):
    """A registry that delays its responses to blob requests until `release` is set."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - overrides
        if "/blobs/" in request.path:
            self.release.wait()


def test_a_worker_stops_at_the_end_of_the_run(
    steps: MirrorSteps, store: MemoryStore, registries: Start
) -> None:
    policy = _DelayedBlobsPolicy()
    source, destination = registries(policy=policy), registries()
    put_tags(source, "team/app", ["1", "2"])
    _store_request(store, source, destination, seconds=0.5)

    # the deadline of the invocation is much later
    output = steps.copy(WorkItem.parse(_build_item("1", "2", seconds=0.5)), 0, Deadline(3600))
    policy.release.set()

    assert output == {}
    results = _read_results(store)
    assert [each["Status"] for each in results] == ["Left", "Left"]
    assert "timed out" in results[0]["Error"]


class _ThrottlingPolicy(SpecificationPolicy):
    """A registry that responds 429 with Retry-After to each GET of a manifest."""

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - overrides
        if "/manifests/" in request.path and request.method == "GET":
            headers = {"Retry-After": "3600"}
            raise RegistryError(ErrorCode.TOOMANYREQUESTS, "slow down", headers=headers)


def test_a_worker_returns_a_retry_after_that_exceeds_its_time(
    steps: MirrorSteps, store: MemoryStore, registries: Start
) -> None:
    source, destination = registries(policy=_ThrottlingPolicy()), registries()
    put_tags(source, "team/app", ["1"])
    _store_request(store, source, destination, seconds=7200)
    item = WorkItem.parse(_build_item("1", seconds=7200))

    first = steps.copy(item, 0, Deadline(900))
    # in the same process, the host's shared pause is not over
    second = steps.copy(WorkItem.parse(first["Mirror"]), 0, Deadline(20))

    assert first["WaitSeconds"] == 3600
    assert 20 < second["WaitSeconds"] <= 60


def test_a_throttled_image_remains_if_its_wait_exceeds_the_run(
    steps: MirrorSteps, store: MemoryStore, registries: Start
) -> None:
    source, destination = registries(policy=_ThrottlingPolicy()), registries()
    put_tags(source, "team/app", ["1", "2"])
    _store_request(store, source, destination, seconds=1800)

    output = steps.copy(WorkItem.parse(_build_item("1", "2", seconds=1800)), 0, Deadline(900))

    assert output == {}
    assert [each["Status"] for each in _read_results(store)] == ["Left", "Left"]


def test_choose_after_the_end_of_the_run_sends_no_requests(
    steps: MirrorSteps, store: MemoryStore, registries: Start
) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1"])
    _store_request(store, source, destination, seconds=0)

    steps.choose(RUN, Deadline(60))

    assert methods(source.requests)["HEAD manifest"] == 0


def test_images_and_steps_of_one_worker_share_connections_and_tokens(
    steps: MirrorSteps, store: MemoryStore, registries: Start
) -> None:
    users = {LOGIN.username: LOGIN.password}
    source = registries(authentication=BearerAuthentication(users, anonymous_pull=False))
    destination = registries(authentication=BearerAuthentication(users))
    put_tags(source, "team/app", ("1", "2", "3", "4", "5", "6"))
    _store_request(store, source, destination)

    _copy(steps, "1")
    _copy(steps, "2", "3", "4")
    _copy(steps, "5", "6")

    assert len(destination.store.tags("mirror/app")) == 6
    assert (_count_tokens(source), _count_tokens(destination)) == (1, 1)
    # one for each blob of an image, as these are copied at the same time
    assert source.accepted_connections <= 5
    assert destination.accepted_connections <= 5


def _copy(steps: MirrorSteps, *tags: str) -> None:
    """Copy images in one step, as one invocation of the worker does."""
    steps.copy(WorkItem.parse(_build_item(*tags)), 0, Deadline(60))


def _read_results(store: MemoryStore) -> list[dict[str, Any]]:
    """Read the results of the only work item."""
    (document,) = (json.loads(store.objects[key]) for key in store.find_keys(RUN.results))
    results: list[dict[str, Any]] = document["Results"]
    return results


def _count_tokens(registry: RegistryServer) -> int:
    return sum(each.path == "/token" for each in registry.requests)
