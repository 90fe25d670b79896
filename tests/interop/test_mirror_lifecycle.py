"""Requests of CloudFormation to a mirror: each gets exactly one response."""

from __future__ import annotations

import json
import runpy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local.web import LoopbackServer, Response
from tests.interop.mirror_machine import FUNCTION, Machine
from tests.interop.mirror_scene import TAGS, MirrorScene

from custom_resource.mirror_ids import mirror_id

ROOT = Path(__file__).parents[2]
#: AWS reports ABORTED; moto's interpreter fails if it is stopped within a Map.
STOPPED = {"ABORTED", "FAILED"}


@pytest.fixture
def mirror_scene() -> Iterator[MirrorScene]:
    built = MirrorScene()
    yield built
    built.close()


@pytest.fixture
def waiting(mirror_scene: MirrorScene, machine: Machine) -> tuple[dict[str, Any], dict[str, Any]]:
    """A mirror whose run waits for a rate limit for ten minutes."""
    mirror_scene.third.allowed, mirror_scene.third.throttled_count = 2, 10_000
    mirror_scene.third.retry_after = "600"
    mirror = {"Repositories": mirror_scene.entries[15:16]}
    create = machine.event("Create", mirror)
    assert machine.send(create)["Status"] == "STARTED"
    machine.wait_for(lambda: any("/results/" in key for key in machine.list_keys()))
    return mirror, create


def test_an_update_stops_the_previous_run_and_each_request_gets_one_response(
    mirror_scene: MirrorScene, machine: Machine, waiting: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mirror, create = waiting
    (running,) = machine.executions("RUNNING")
    mirror_scene.third.throttled_count = 0

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
    mirror_scene: MirrorScene, machine: Machine, waiting: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mirror, create = waiting
    begun, released = threading.Event(), threading.Event()

    def hold_blob(_repository: str) -> None:
        begun.set()
        released.wait()

    mirror_scene.third.throttled_count, mirror_scene.third.on_blob = 0, hold_blob
    update = machine.event("Update", {**mirror, "Trigger": "2"}, physical_resource_id="x")
    assert machine.send(update)["Status"] == "STARTED"
    machine.wait_for(begun.is_set)

    assert machine.send(create)["Status"] == "STARTED"

    released.set()
    response = machine.cloudformation.wait_for_response(update["RequestId"], 60)
    assert (response.status, response.data["Copied"]) == ("SUCCESS", "13")


def test_a_delete_during_a_run_stops_it_and_removes_the_state(
    machine: Machine, waiting: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mirror, create = waiting
    (line,) = (
        json.loads(each) for each in machine.pool.log.splitlines() if '"continues later"' in each
    )
    assert (line["mirror_run"], line["mirror_step"]) == (machine.run_of(create), "Copy")
    assert "request_type" not in line
    delete = machine.event("Delete", mirror, physical_resource_id="not-created/Mirror/1")

    assert machine.send(delete)["Status"] == "SUCCESS"

    machine.wait_until_ended()
    (stopped,) = machine.executions()
    assert stopped["status"] in STOPPED
    assert machine.list_keys() == []
    # the deletion removed the state that the responder reads, and responded for the run
    machine.pool.invoke(machine.status_change(stopped["name"], "ABORTED"), "responder")
    statuses = {each.request_id: each.status for each in machine.cloudformation.responses}
    assert statuses == {create["RequestId"]: "FAILED", delete["RequestId"]: "SUCCESS"}
    assert len(machine.cloudformation.responses) == 2
    # a duplicate of the first request creates no objects
    assert machine.send(create)["Status"] == "STARTED"
    assert machine.list_keys() == []


def test_a_delete_through_sns_is_rejected_while_every_destination_is_allowed(
    machine: Machine, waiting: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mirror, _ = waiting

    def send_through_topic(event: dict[str, Any]) -> dict[str, Any]:
        notification = {"EventSource": "aws:sns", "Sns": {"Message": json.dumps(event)}}
        return machine.send({"Records": [notification]})

    rejected = send_through_topic(machine.event("Delete", mirror, physical_resource_id="x"))
    assert rejected["Status"] == "FAILED"
    assert "requests through SNS are not allowed" in rejected["Reason"]
    assert machine.executions("RUNNING")
    assert machine.list_keys()

    # a Create that was rejected left nothing
    other = machine.event("Delete", mirror, physical_resource_id="x")
    other["LogicalResourceId"] = "Other"
    assert send_through_topic(other)["Status"] == "SUCCESS"

    assert machine.send(machine.event("Delete", mirror, physical_resource_id="x"))["Status"] == (
        "SUCCESS"
    )
    assert not machine.list_keys()


def test_a_failed_choose_step_fails_the_resource_with_its_reason(
    mirror_scene: MirrorScene, machine: Machine
) -> None:
    entry = mirror_scene.entries[0]
    image = {
        "SrcImage": entry["SrcRepository"],
        "DestImage": f"{mirror_scene.destination.host}/mirror/team/app00:1.1",
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


def test_a_rejected_schedule_fails_the_resource_before_images_are_copied(
    mirror_scene: MirrorScene, machine: Machine
) -> None:
    mirror = {
        "Repositories": mirror_scene.entries[:1],
        "CompleteWhen": "Started",
        "Schedule": "cron(0 3 * * * *)",
    }
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": "ValidationException"}
    content = b'{"Message": "Invalid Schedule Expression cron(0 3 * * * *)."}'
    scheduler = LoopbackServer(lambda _: Response(400, headers, content))
    scheduler.start()
    machine.pool.configure({"AWS_ENDPOINT_URL_SCHEDULER": scheduler.url})

    machine.send(machine.event("Create", mirror))
    machine.wait_until_ended()
    scheduler.close()

    (response,) = machine.cloudformation.responses
    assert response.status == "FAILED"
    assert "Invalid Schedule Expression cron(0 3 * * * *)" in (response.reason or "")
    assert not any(each.method in {"POST", "PUT"} for each in mirror_scene.destination.requests)


def test_invalid_properties_and_dry_runs_start_nothing(
    mirror_scene: MirrorScene, machine: Machine
) -> None:
    create = machine.event("Create", {"Repositories": [{**mirror_scene.entries[0], "Tag": "x"}]})
    assert machine.send(create)["Status"] == "FAILED"

    dry = machine.event("Create", {"Repositories": mirror_scene.entries[:2], "DryRun": "true"})
    response = machine.send(dry)

    assert response["Status"] == "SUCCESS"
    assert response["Data"]["Chosen"] == "30"
    choice = machine.read(response["Data"]["ReportUri"].partition("/mirrors-of-tests/")[2])
    assert len(choice["Choice"]) == 30
    assert machine.executions() == []
    assert not any(each.method in {"POST", "PUT"} for each in mirror_scene.destination.requests)


def test_completewhen_started_responds_before_images_are_copied(
    mirror_scene: MirrorScene, machine: Machine
) -> None:
    mirror_scene.third.allowed, mirror_scene.third.throttled_count = 2, 10_000
    mirror_scene.third.retry_after = "600"
    mirror = {
        "Repositories": mirror_scene.entries[15:16],
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
    start = {"Mirror": {"Step": "Start", "Run": machine.run_of(create)}}
    assert machine.send(start) == {"Started": False}  # the first run is still running
    machine.send(machine.event("Delete", mirror, physical_resource_id="x"))
    assert FUNCTION not in machine.schedules()


def test_a_run_that_exceeds_its_time_limit_gets_a_response(
    mirror_scene: MirrorScene, machine: Machine
) -> None:
    machine.limit(3)
    mirror_scene.third.allowed, mirror_scene.third.throttled_count = 2, 10_000
    mirror_scene.third.retry_after = "600"
    create = machine.event("Create", {"Repositories": mirror_scene.entries[15:16]})
    assert machine.send(create)["Status"] == "STARTED"
    machine.wait_until_ended()

    (execution,) = machine.executions()
    assert execution["status"] == "TIMED_OUT"
    # a worker that was slow to start can still be writing objects
    machine.wait_for(lambda: machine.pool.is_idle)
    before = len(machine.cloudformation.responses)
    machine.pool.invoke(machine.status_change(execution["name"], "TIMED_OUT"), "responder")

    (response,) = machine.cloudformation.responses
    assert before == 0
    assert (response.request_id, response.status) == (create["RequestId"], "FAILED")
    assert "timed out" in (response.reason or "")
    assert response.physical_resource_id == mirror_id(create)
    delete = machine.event("Delete", {}, physical_resource_id=mirror_id(create))
    assert machine.send(delete)["Status"] == "SUCCESS"
    assert machine.list_keys() == []


@pytest.mark.parametrize(("step", "responds_itself"), [("Choose", True), ("Summarise", False)])
def test_a_repeatedly_killed_worker_causes_one_response(
    mirror_scene: MirrorScene, machine: Machine, step: str, responds_itself: bool
) -> None:
    machine.pool.kills = lambda event: event.get("Mirror", {}).get("Step") == step
    create = machine.event("Create", {"Repositories": mirror_scene.entries[:1]})
    assert machine.send(create)["Status"] == "STARTED"
    machine.wait_until_ended()

    (execution,) = machine.executions()
    assert execution["status"] == "FAILED"
    assert len(machine.cloudformation.responses) == responds_itself
    machine.pool.invoke(machine.status_change(execution["name"], "FAILED"), "responder")

    (response,) = machine.cloudformation.responses
    assert (response.status, response.physical_resource_id) == ("FAILED", mirror_id(create))
    reason = "its worker was killed" if responds_itself else "the mirror's run failed"
    assert reason in (response.reason or "")


def test_the_state_transitions_of_a_run_match_the_documentation(
    mirror_scene: MirrorScene, machine: Machine
) -> None:
    computed = runpy.run_path(str(ROOT / "scripts" / "mirror_costs.py"))["Run"]
    entries = [*mirror_scene.entries[:2], *mirror_scene.entries[15:17]]
    mirror = {"Repositories": entries}
    images = len(entries) * len(TAGS)

    for kind, changed, repositories in (("Create", images, len(entries)), ("Update", 0, 0)):
        machine.history.clear()
        requests, events = machine.bucket_requests.counts, len(machine.pool.events)
        sent = machine.event(kind, {**mirror, "Trigger": kind}, physical_resource_id="x")
        assert machine.send(sent)["Status"] == "STARTED"
        machine.wait_until_ended()

        run = computed(images=images, changed=changed, repositories=repositories, hosts=2)
        assert machine.history.transitions == run.transitions
        assert len(machine.pool.events) - events == run.invocations
        counts = machine.bucket_requests.counts - requests
        assert counts["PUT"] + counts["LIST"] == run.puts
        # the interpreter reads the work items of each host in this process
        assert counts["GET"] + run.changed_hosts == run.gets


def test_images_that_exceed_the_time_limit_fail_the_resource(
    mirror_scene: MirrorScene, machine: Machine
) -> None:
    mirror_scene.third.allowed, mirror_scene.third.throttled_count = 2, 10_000
    mirror_scene.third.retry_after = "600"
    mirror = {"Repositories": mirror_scene.entries[15:16], "ServiceTimeout": "400"}

    create = machine.event("Create", mirror)
    assert machine.send(create)["Status"] == "STARTED"
    machine.wait_until_ended()

    (response,) = machine.cloudformation.responses
    assert response.status == "FAILED"
    assert f"timed out, 2 of {len(TAGS)} copied" in (response.reason or "")
    (execution,) = machine.executions()
    assert len(machine.report_of(execution)["Left"]) == len(TAGS) - 2
    machine.pool.invoke(machine.status_change(execution["name"], "FAILED"), "responder")
    assert len(machine.cloudformation.responses) == 1
