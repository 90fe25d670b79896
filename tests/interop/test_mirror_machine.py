"""The executed state machine definition: every kind of failed image and worker."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from local.images import Content, Index
from local.web import DroppedConnectionError
from tests.interop.mirror_machine import Machine
from tests.interop.mirror_scene import (
    TAGS,
    MirrorScene,
    ignore_blob,
    ignore_manifest,
    serves_entry,
)

MISSING = ["7.1", "7.2", "7.3"]
DENIED_REPOSITORY = "team/app24"
DENIED_TAGS = ["team/app23:1.10", "team/app23:1.9"]
KILLED_ONCE = "team/app01:1.7"
ALWAYS_KILLED = [f"team/app02:1.{number}" for number in range(5, 15)]
#: Error kinds by the repository and tag of the source.
FAILED = {
    **{f"team/app00:{tag}": "NotFound" for tag in MISSING},
    **dict.fromkeys((DENIED_REPOSITORY, *DENIED_TAGS), "Denied"),
    **dict.fromkeys((KILLED_ONCE, *ALWAYS_KILLED), "Killed"),
}
#: The denied repository counts as one image, since its tags are not known.
CHOSEN = 19 * len(TAGS) + 1 + len(MISSING)
COPIED_LATER = len(ALWAYS_KILLED) + 1


@pytest.fixture
def scene() -> Iterator[MirrorScene]:
    built = MirrorScene(uses_docker_registry=True)
    yield built
    built.close()


def _cause_faults(scene: MirrorScene, machine: Machine) -> None:
    """Kill the worker of entry 1 once and of entry 2 always; let entry 3 time out twice."""
    kills = {1: 1, 2: 2}

    def on_manifest(repository: str, digest: str) -> None:
        entry = int(repository[-1])
        position = scene.position_of(digest)
        if kills.get(entry) and position >= (7 if entry == 1 else 5):
            kills[entry] -= 1
            machine.pool.kill(serves_entry(entry))
            raise DroppedConnectionError

    never = threading.Event()

    def on_blob(repository: str) -> None:
        begun = sum(map(serves_entry(3), machine.pool.events))
        if repository == "team/app03" and begun <= 2:
            never.wait(6)  # longer than the worker's time limit
            raise DroppedConnectionError

    scene.first.on_manifest, scene.first.on_blob = on_manifest, on_blob
    machine.seconds[3] = [7.0, 7.0]
    scene.third.denied = {DENIED_REPOSITORY, *DENIED_TAGS}
    scene.third.allowed, scene.third.throttled_count = 20, 4
    scene.entries[0]["Tags"] = [*TAGS, *MISSING]


def _without_host(source: str) -> str:
    return source.partition("/")[2]


def _copied_digest(image: Content) -> str:
    """Return the digest of what is copied: by default, linux/amd64 of an index."""
    return str(image.images[0].digest if isinstance(image, Index) else image.digest)


def _assert_report_is_exact(
    scene: MirrorScene, report: Mapping[str, Any], data: Mapping[str, str]
) -> None:
    assert {_without_host(each["Source"]): each["Kind"] for each in report["Failed"]} == FAILED
    assert all(each["Error"] for each in report["Failed"])
    copied = {_without_host(each["Source"]): each for each in report["Copied"]}
    assert len(copied) == len(report["Copied"])
    assert copied.keys() == {
        name
        for name in scene.images
        if name not in FAILED and not name.startswith(f"{DENIED_REPOSITORY}:")
    }
    for name, each in copied.items():
        image = scene.images[name]
        assert (each["SourceDigest"], each["Digest"]) == (image.digest, _copied_digest(image))
        assert each["Destination"] == f"{scene.destination.host}/mirror/{name}"
    assert (report["Left"], report["Vanished"], report["Warnings"]) == ([], [], [])
    counts = {
        "Chosen": CHOSEN,
        "Copied": CHOSEN - len(FAILED),
        "Failed": len(FAILED),
        **dict.fromkeys(("Left", "Unchanged", "Vanished"), 0),
        "BytesCopied": sum(each.get("Bytes", 0) for each in report["Copied"]),
    }
    assert {name: int(data[name]) for name in counts} == counts
    assert {name: int(report["Summary"][name]) for name in counts} == counts
    assert data["Changed"] == "true"


def test_every_failure_is_reported_and_nothing_is_copied_twice(
    scene: MirrorScene, machine: Machine
) -> None:
    _cause_faults(scene, machine)
    mirror = {
        "Repositories": scene.entries,
        "MaxFailures": len(FAILED),
        "SourceConcurrency": 2,
        "Schedule": "cron(0 3 * * ? *)",
    }

    create = machine.event("Create", mirror)
    assert machine.send(create)["Status"] == "STARTED"
    machine.wait_until_ended()

    (response,) = machine.cloudformation.responses
    assert response.status == "SUCCESS", (response.reason, response.document)
    report = machine.report_of(machine.executions()[0])
    _assert_report_is_exact(scene, report, response.data)
    pushes = scene.count_blob_pushes()
    assert pushes
    assert set(pushes.values()) == {1}
    invocations = Counter(
        event["Mirror"]["Entry"]
        for event in machine.pool.events
        if event.get("Mirror", {}).get("Step") == "Copy" and not event.get("RetryCount")
    )
    assert invocations[3] == 3  # two timeouts
    waits = sum(each.kind == "WaitStateEntered" for each in machine.history.events)
    assert scene.third.throttled_count == 0
    assert waits == 2 + 4  # two timeouts, four rejected pulls
    # the formula of docs/mirrors.md; the worker that is always killed skips IsFinished
    repositories, hosts = 19, 3
    assert machine.history.transitions == 5 + 2 * hosts + 3 * repositories + 3 * waits - 1
    assert machine.schedules() == [response.physical_resource_id]
    _assert_later_runs(scene, machine, create)

    delete = machine.event("Delete", mirror, physical_resource_id=response.physical_resource_id)
    assert machine.send(delete)["Status"] == "SUCCESS"
    assert machine.schedules() == []
    assert machine.list_keys() == []
    assert [each.status for each in machine.cloudformation.responses] == ["SUCCESS", "SUCCESS"]
    assert machine.cloudformation.violations == ()
    _assert_no_secret(machine)


def _assert_later_runs(scene: MirrorScene, machine: Machine, create: dict[str, Any]) -> None:
    """The second run copies the images that failed in the first; the third copies nothing."""
    scene.first.on_manifest, scene.first.on_blob = ignore_manifest, ignore_blob
    scene.third.allowed = None
    start = {
        "Mirror": {"Step": "Start", "Run": machine.run_of(create), "At": "2026-01-02T03:00:00Z"}
    }
    assert machine.send(start) == {"Started": True}
    machine.wait_until_ended()
    report = machine.report_of(machine.executions()[0])
    assert {_without_host(each["Source"]) for each in report["Copied"]} == {
        KILLED_ONCE,
        *ALWAYS_KILLED,
    }
    assert report["Summary"]["Failed"] == str(len(FAILED) - COPIED_LATER)
    assert set(scene.count_blob_pushes().values()) == {1}

    scene.clear_requests()
    machine.history.clear()
    start["Mirror"]["At"] = "2026-01-03T03:00:00Z"
    assert machine.send(start) == {"Started": True}
    machine.wait_until_ended()
    report = machine.report_of(machine.executions()[0])
    assert report["Summary"]["Unchanged"] == str(CHOSEN - len(FAILED) + COPIED_LATER)
    assert (report["Summary"]["Copied"], report["Summary"]["BytesCopied"]) == ("0", "0")
    for registry in scene.registries:
        for each in registry.requests:
            is_list = each.method == "GET" and each.path.endswith("/tags/list")
            # a GET confirms that an image is missing or denied
            is_rejected = each.method == "GET" and each.status in {403, 404}
            is_head = each.method == "HEAD" and "/manifests/" in each.path
            assert is_list or is_rejected or is_head, each
    assert machine.history.transitions == 5

    # duplicate events of the schedule and of CloudFormation start no execution
    assert machine.send(start) == {"Started": False}
    assert machine.send(create)["Status"] == "STARTED"
    assert len(machine.executions()) == 3
    assert len(machine.cloudformation.responses) == 1


def _assert_no_secret(machine: Machine) -> None:
    """Assert that no execution input and no log line has a response URL."""
    for execution in machine.executions():
        described = machine.states.describe_execution(executionArn=execution["executionArn"])
        assert "X-Amz-Signature" not in described["input"]
    assert not any("X-Amz-Signature" in each.details for each in machine.history.events)
    assert "X-Amz-Signature" not in machine.pool.log


def test_a_host_waits_without_an_invocation_while_other_hosts_continue(
    scene: MirrorScene, machine: Machine
) -> None:
    scene.third.allowed, scene.third.throttled_count = 2, 10_000
    scene.third.retry_after = "600"
    free, _, limited = (source.host for source in scene.sources)

    def wait_until_the_other_host_waits(_repository: str) -> None:
        machine.wait_for(lambda: bool(machine.history.find("WaitStateEntered", limited)))

    scene.first.on_blob = wait_until_the_other_host_waits
    entries = [*scene.entries[:2], *scene.entries[8:10], *scene.entries[15:18]]
    mirror = {"Repositories": entries, "SourceConcurrency": 1}
    machine.send(machine.event("Create", mirror))
    machine.wait_for(lambda: len(machine.history.find("PassStateExited", "HostDone")) == 2)

    (begin,) = machine.history.find("WaitStateEntered", limited)
    assert re.search(r'WaitSeconds[\\": ]+600\b', machine.history.events[begin].details)
    # one worker at a time: no other repository starts during the wait
    (task,) = machine.history.find("TaskScheduled", limited)
    assert task < begin
    assert not machine.history.find("WaitStateExited", limited)
    # the repositories of other hosts are copied during the wait
    _, second = machine.history.find("TaskScheduled", free)
    assert begin < second
    exits = machine.history.find("PassStateExited", "HostDone")
    assert any(free in machine.history.events[end].details for end in exits)
    machine.send(machine.event("Delete", mirror, physical_resource_id="x"))
