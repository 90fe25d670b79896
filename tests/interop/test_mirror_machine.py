"""The state machine's definition, executed: every way in which an image or a worker can fail."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local.certificates import CertificateAuthority
from local.registry import ErrorCode, Operation, RegistryError, RegistryServer, SpecificationPolicy
from local.registry.store import Store
from local.web import DroppedConnectionError, Request
from tests.functional.mirror_fixtures import methods, put_tags
from tests.interop.mirror_machine import FUNCTION, Machine, deployed

TAGS = [f"1.{number}" for number in range(15)]
#: moto's interpreter fails by itself when it is stopped within a Map; AWS reports ABORTED.
STOPPED = {"ABORTED", "FAILED"}
MISSING = ["7.1", "7.2", "7.3"]


@pytest.fixture
def machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    authority = CertificateAuthority(tmp_path_factory.mktemp("authority"))
    with deployed(tmp_path, monkeypatch, authority) as running:
        yield running


def _ignore_manifest(_repository: str, _digest: str) -> None:
    """No trouble."""


def _ignore_blob(_repository: str) -> None:
    """No trouble."""


class _Trouble(SpecificationPolicy):
    """What a source registry does beside serving images."""

    def __init__(self) -> None:
        self.on_manifest: Callable[[str, str], None] = _ignore_manifest
        self.on_blob: Callable[[str], None] = _ignore_blob
        self.denied: set[str] = set()
        self.allowed: int | None = None
        self.refusals = 0
        self.retry_after = "1"
        self._lock = threading.Lock()

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - the policy's
        reference = request.path.rpartition("/")[2]
        if (
            operation.repository in self.denied
            or f"{operation.repository}:{reference}" in self.denied
        ):
            raise RegistryError(ErrorCode.DENIED, "requested access to the resource is denied")
        if "/blobs/" in request.path:
            self.on_blob(operation.repository)
        if "/manifests/" not in request.path or request.method != "GET":
            return
        with self._lock:
            if self.allowed is not None:
                self.allowed -= 1
                if self.allowed < 0 and self.refusals > 0:
                    self.refusals -= 1
                    headers = {
                        "Retry-After": self.retry_after,
                        "ratelimit-limit": "100;w=21600",
                        "ratelimit-remaining": "0;w=21600",
                    }
                    raise RegistryError(ErrorCode.TOOMANYREQUESTS, "limit", headers=headers)
        self.on_manifest(operation.repository, reference)


class _Scene:
    """300 tags in 20 repositories on 3 hosts, mirrored to one registry."""

    def __init__(self) -> None:
        self.policies = [_Trouble() for _ in range(3)]
        self.sources = [RegistryServer(policy=policy).start() for policy in self.policies]
        self.destination = RegistryServer().start()
        self.entries: list[dict[str, Any]] = []
        self.digests: dict[tuple[str, str], str] = {}
        for host, count in enumerate((8, 7, 5)):
            for number in range(count):
                name = f"team/app{host}{number}"
                images = put_tags(self.sources[host], name, TAGS, platforms=2 if host == 1 else 1)
                for tag, image in images.items():
                    self.digests[image.digest] = (name, tag)  # type: ignore[index,assignment]
                self.entries.append(
                    {
                        "SrcRepository": f"{self.sources[host].host}/{name}",
                        "DestRepository": f"{self.destination.host}/mirror/{{path}}",
                    }
                )

    def clear(self) -> None:
        for server in (*self.sources, self.destination):
            server.clear_requests()

    def tag_of(self, digest: str) -> int:
        found = self.digests.get(digest)  # type: ignore[call-overload]
        return TAGS.index(found[1]) if found else -1

    def close(self) -> None:
        for server in (*self.sources, self.destination):
            server.close()


@pytest.fixture
def scene() -> Iterator[_Scene]:
    built = _Scene()
    yield built
    built.close()


def _serves(entry: int) -> Callable[[dict[str, Any]], bool]:
    def serves(event: dict[str, Any]) -> bool:
        mirror = event.get("Mirror", {})
        return bool(mirror.get("Step") == "Copy" and mirror.get("Entry") == entry)

    return serves


def _make_trouble(scene: _Scene, machine: Machine) -> None:
    """Entry 1: killed once. Entry 2: killed for good. Entry 3: out of time twice."""
    kills = {1: 1, 2: 2}
    first, second, third = scene.policies

    def on_manifest(repository: str, digest: str) -> None:
        entry = int(repository[-1])
        at = scene.tag_of(digest)
        if kills.get(entry) and at >= (7 if entry == 1 else 5):
            kills[entry] -= 1
            machine.pool.kill(_serves(entry))
            raise DroppedConnectionError

    never = threading.Event()

    def on_blob(repository: str) -> None:
        begun = sum(map(_serves(3), machine.pool.events))
        if repository == "team/app03" and begun <= 2:
            never.wait(6)  # longer than the worker has
            raise DroppedConnectionError

    first.on_manifest, first.on_blob = on_manifest, on_blob
    machine.seconds[3] = [7.0, 7.0]
    second.denied = {"team/app16", "team/app15:1.9", "team/app15:1.10"}
    third.allowed, third.refusals = 20, 4
    scene.entries[0]["Tags"] = [*TAGS, *MISSING]


def _blob_pushes(scene: _Scene) -> Counter[str]:
    return Counter(
        f"{each.path.partition('/blobs/')[0]}@{each.parameters.get('digest')}"
        for each in scene.destination.requests
        if each.method == "PUT" and "/blobs/uploads/" in each.path and each.status == 201
    )


def test_every_failure_is_reported_and_nothing_is_copied_twice(  # noqa: PLR0915 - one mirror's life
    scene: _Scene, machine: Machine
) -> None:
    _make_trouble(scene, machine)
    mirror = {
        "Repositories": scene.entries,
        "MaxFailures": 3 + 2 + 1 + 1 + 10,
        "SourceConcurrency": 2,
        "Schedule": "cron(0 3 * * ? *)",
    }

    create = machine.event("Create", mirror)
    assert machine.send(create)["Status"] == "STARTED"
    machine.wait_until_ended()

    (response,) = machine.cloudformation.responses
    assert response.status == "SUCCESS", (response.reason, response.document)
    data = response.data
    failed = 3 + 2 + 1 + 1 + 10
    total = 19 * 15 + 1 + 3
    assert data["Chosen"] == str(total)
    assert data["Failed"] == str(failed)
    assert data["Copied"] == str(total - failed)
    assert (data["Left"], data["Unchanged"], data["Vanished"]) == ("0", "0", "0")
    report = machine.read(data["ReportUri"].partition("/mirrors-of-tests/")[2])
    kinds = Counter(each["Kind"] for each in report["Failed"])
    assert kinds == {"NotFound": 3, "Denied": 3, "Killed": 11}
    killed = [
        each["Source"].rpartition("/")[2] for each in report["Failed"] if each["Kind"] == "Killed"
    ]
    assert killed == ["app01:1.7", *(f"app02:1.{number}" for number in range(5, 15))]
    assert all(count == 1 for count in _blob_pushes(scene).values())
    parts = Counter(
        event["Mirror"]["Entry"]
        for event in machine.pool.events
        if event.get("Mirror", {}).get("Step") == "Copy" and not event.get("RetryCount")
    )
    assert parts[3] == 3  # out of time twice
    waits = [each for each in machine.pool.events if each.get("Mirror", {}).get("Part", 0) > 0]
    assert len(waits) >= 3
    assert machine.schedules() == [response.physical_resource_id]

    # what failed without a reason of its own is copied by the next run
    for policy in scene.policies:
        policy.on_manifest, policy.on_blob = _ignore_manifest, _ignore_blob
        policy.allowed = None
    start = {"Mirror": {"Step": "Start", "Run": _run(create), "At": "2026-01-02T03:00:00Z"}}
    assert machine.send(start) == {"Started": True}
    machine.wait_until_ended()
    (newest, *_) = machine.executions()
    report = machine.read(_report_key(newest))
    assert report["Summary"]["Copied"] == "11"
    assert report["Summary"]["Failed"] == "6"
    assert len(machine.cloudformation.responses) == 1

    # and the one after that moves nothing and reads no manifest
    scene.clear()
    assert machine.send({"Mirror": {**start["Mirror"], "At": "2026-01-03T03:00:00Z"}})["Started"]
    machine.wait_until_ended()
    report = machine.read(_report_key(machine.executions()[0]))
    assert report["Summary"]["Unchanged"] == str(total - 6)
    assert report["Summary"]["Copied"] == "0"
    for server in (*scene.sources, scene.destination):
        assert set(methods(server.requests)) <= {"GET tags", "HEAD manifest"}

    # a duplicate of the schedule's event and of CloudFormation's start nothing
    assert machine.send({"Mirror": {**start["Mirror"], "At": "2026-01-03T03:00:00Z"}}) == {
        "Started": False
    }
    assert machine.send(create)["Status"] == "STARTED"
    assert len(machine.executions()) == 3

    delete = machine.event("Delete", mirror, physical_resource_id=response.physical_resource_id)
    assert machine.send(delete)["Status"] == "SUCCESS"
    assert machine.schedules() == []
    assert machine.list_keys() == []
    assert [each.status for each in machine.cloudformation.responses] == ["SUCCESS", "SUCCESS"]
    assert machine.cloudformation.violations == ()
    _assert_no_secret(machine)


def _run(event: dict[str, Any]) -> str:
    import hashlib  # noqa: PLC0415 - for this alone

    name = f"{event['StackId']}\n{event['LogicalResourceId']}"
    return f"{hashlib.sha256(name.encode()).hexdigest()[:32]}/{event['RequestId']}"


def _report_key(execution: dict[str, Any]) -> str:
    name = execution["name"]
    return f"mirrors/{name[:32]}/{name[33:]}/report.json"


def _assert_no_secret(machine: Machine) -> None:
    """Response URLs are in no execution's input and in no log line."""
    for execution in machine.executions():
        described = machine.states.describe_execution(executionArn=execution["executionArn"])
        assert "X-Amz-Signature" not in described["input"]
    assert "X-Amz-Signature" not in machine.pool.log


@pytest.fixture
def waiting(scene: _Scene, machine: Machine) -> tuple[dict[str, Any], dict[str, Any]]:
    """A mirror whose run waits for a rate limit for ten minutes."""
    scene.policies[2].allowed, scene.policies[2].refusals = 2, 10_000
    scene.policies[2].retry_after = "600"
    mirror = {"Repositories": scene.entries[15:16]}
    create = machine.event("Create", mirror)
    assert machine.send(create)["Status"] == "STARTED"
    machine.wait_for(lambda: any("/results/" in key for key in machine.list_keys()))
    return mirror, create


def test_an_update_stops_the_run_before_it_and_each_request_has_one_response(
    scene: _Scene, machine: Machine, waiting: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mirror, create = waiting
    (running,) = machine.executions("RUNNING")
    scene.policies[2].refusals = 0

    update = machine.event("Update", {**mirror, "Trigger": "2"}, physical_resource_id="x")
    assert machine.send(update)["Status"] == "STARTED"
    machine.wait_until_ended()

    stopped = machine.states.describe_execution(executionArn=running["executionArn"])
    assert stopped["status"] in STOPPED
    assert not any(
        event.get("Mirror", {}).get("Step") == "Summarise"
        and event["Mirror"]["Run"].endswith(create["RequestId"])
        for event in machine.pool.events
    )
    change = machine.status_change(running["name"], "ABORTED")
    machine.pool.invoke(change, "responder")
    responses = {each.request_id: each for each in machine.cloudformation.responses}
    assert len(machine.cloudformation.responses) == 2
    assert responses[create["RequestId"]].status == "FAILED"
    assert "was stopped" in (responses[create["RequestId"]].reason or "")
    assert responses[update["RequestId"]].status == "SUCCESS"
    done = machine.executions("SUCCEEDED")[0]["name"]
    assert machine.pool.invoke(machine.status_change(done, "FAILED"), "responder") == {
        "Payload": None
    }
    assert len(machine.cloudformation.responses) == 2


def test_a_late_duplicate_of_the_first_request_does_not_stop_the_update(
    machine: Machine, waiting: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mirror, create = waiting
    update = machine.event("Update", {**mirror, "Trigger": "2"}, physical_resource_id="x")
    assert machine.send(update)["Status"] == "STARTED"
    machine.wait_for(lambda: len(machine.executions("RUNNING")) == 1)

    assert machine.send(create)["Status"] == "STARTED"

    (running,) = machine.executions("RUNNING")
    assert running["name"].endswith(update["RequestId"])
    machine.send(machine.event("Delete", mirror, physical_resource_id="x"))


def test_a_delete_during_a_run_stops_it_and_removes_the_state(
    machine: Machine, waiting: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mirror, create = waiting
    delete = machine.event("Delete", mirror, physical_resource_id="not-created/Mirror/1")

    assert machine.send(delete)["Status"] == "SUCCESS"

    machine.wait_until_ended()
    (stopped,) = machine.executions()
    assert stopped["status"] in STOPPED
    assert machine.list_keys() == []
    # the state that the responder reads is gone, so that the deletion has responded for the run
    machine.pool.invoke(machine.status_change(stopped["name"], "ABORTED"), "responder")
    statuses = {each.request_id: each.status for each in machine.cloudformation.responses}
    assert statuses == {create["RequestId"]: "FAILED", delete["RequestId"]: "SUCCESS"}
    assert len(machine.cloudformation.responses) == 2
    # a duplicate of the first request leaves nothing behind
    assert machine.send(create)["Status"] == "STARTED"
    assert machine.list_keys() == []


def test_a_mirror_that_cannot_be_chosen_fails_with_its_reason(
    scene: _Scene, machine: Machine
) -> None:
    entry = scene.entries[0]
    image = {
        "SrcImage": entry["SrcRepository"],
        "DestImage": f"{scene.destination.host}/mirror/team/app00:1.1",
    }
    create = machine.event("Create", {"Repositories": [entry], "Images": [image]})

    machine.send(create)
    machine.wait_until_ended()

    (response,) = machine.cloudformation.responses
    assert response.status == "FAILED"
    assert "both write to" in (response.reason or "")
    assert machine.executions()[0]["status"] == "FAILED"
    change = machine.status_change(machine.executions()[0]["name"], "FAILED")
    machine.pool.invoke(change, "responder")
    assert len(machine.cloudformation.responses) == 1


def test_invalid_properties_and_dry_runs_start_nothing(scene: _Scene, machine: Machine) -> None:
    create = machine.event("Create", {"Repositories": [{**scene.entries[0], "Tag": "x"}]})
    assert machine.send(create)["Status"] == "FAILED"

    dry = machine.event("Create", {"Repositories": scene.entries[:2], "DryRun": "true"})
    response = machine.send(dry)

    assert response["Status"] == "SUCCESS"
    assert response["Data"]["Chosen"] == "30"
    choice = machine.read(response["Data"]["ReportUri"].partition("/mirrors-of-tests/")[2])
    assert len(choice["Choice"]) == 30
    assert machine.executions() == []
    assert scene.destination.store.repositories == ()


def test_completing_when_started_responds_before_the_images_are_copied(
    scene: _Scene, machine: Machine
) -> None:
    scene.policies[2].allowed, scene.policies[2].refusals = 2, 10_000
    scene.policies[2].retry_after = "600"
    mirror = {
        "Repositories": scene.entries[15:16],
        "CompleteWhen": "Started",
        "Schedule": "rate(1 day)",
    }
    create = machine.event("Create", mirror)

    machine.send(create)
    response = machine.cloudformation.wait_for_response(create["RequestId"], 60)
    machine.wait_for(lambda: any("/results/" in key for key in machine.list_keys()))

    assert response.status == "SUCCESS"
    assert response.data["Chosen"] == "15"
    assert machine.schedules() == [response.physical_resource_id]
    start = {"Mirror": {"Step": "Start", "Run": _run(create)}}
    assert machine.send(start) == {"Started": False}  # the first run is going on
    machine.send(machine.event("Delete", mirror, physical_resource_id="x"))
    assert FUNCTION not in machine.schedules()
