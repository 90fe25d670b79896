"""Events in, answers out: CloudFormation's side of the whole handler."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.images import build_image, build_layer, push
from local.registry import RegistryServer
from tests.functional.conftest import PLACEHOLDER, FakeContext, Function

from custom_resource.response import CustomResourceResponse, deliver

Start = Callable[..., RegistryServer]
StartEndpoint = Callable[..., CloudFormationEndpoint]


def push_image(registry: RegistryServer, tag: str = "1", seed: int = 1) -> str:
    image = build_image([build_layer(4096, seed=seed)])
    return str(push(image, registry.host, "team/app", tag))


@pytest.fixture
def registry(registries: Start) -> RegistryServer:
    return registries()


@pytest.fixture
def properties(registry: RegistryServer) -> dict[str, str]:
    push_image(registry)
    return {
        "SrcImage": f"{registry.host}/team/app:1",
        "DestImage": f"{registry.host}/mirror/app:1",
    }


def test_the_answer_is_sent_and_returned(
    function: Function, cloudformation: StartEndpoint, properties: dict[str, str]
) -> None:
    endpoint = cloudformation()
    event = endpoint.event("Create", properties)

    returned = function.send(event)

    assert [answer.document for answer in endpoint.answers] == [returned]
    assert returned["Status"] == "SUCCESS"
    assert endpoint.violations == ()


def test_a_failure_is_answered_with_a_sentence_that_ends_in_the_log_stream(
    function: Function, cloudformation: StartEndpoint, properties: dict[str, str]
) -> None:
    endpoint = cloudformation()

    function.send(endpoint.event("Create", {**properties, "ImageArch": ["s390x"]}))

    (answer,) = endpoint.answers
    assert answer.status == "FAILED"
    assert answer.reason is not None
    assert answer.reason.endswith(FakeContext.log_stream_name)
    assert endpoint.violations == ()


def test_an_answer_that_is_refused_for_a_moment_is_sent_again(
    function: Function, cloudformation: StartEndpoint, properties: dict[str, str]
) -> None:
    endpoint = cloudformation(statuses=[500, 503])

    function.send(endpoint.event("Create", properties))

    assert len(endpoint.answers) == 1
    assert len(endpoint.requests) == 3


def test_the_trusted_certificates_are_read_once(
    authority: CertificateAuthority,
    cloudformation: StartEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    endpoint = cloudformation()
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.ca_file.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    events = [endpoint.event("Create", {}) for _ in range(3)]
    bodies = [
        CustomResourceResponse("FAILED", "id", e["StackId"], e["RequestId"], "Image", "no").body()
        for e in events
    ]
    assert deliver(events[0]["ResponseURL"], bodies[0], budget_seconds=2)
    trusted.unlink()
    assert deliver(events[1]["ResponseURL"], bodies[1], budget_seconds=2)
    # other variables are another store
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert not deliver(events[2]["ResponseURL"], bodies[2], budget_seconds=0.4)


def test_an_answer_that_is_refused_for_good_is_given_up(
    function: Function, cloudformation: StartEndpoint, properties: dict[str, str]
) -> None:
    endpoint = cloudformation(statuses=[403])

    function.send(endpoint.event("Create", properties))

    assert len(endpoint.requests) == 1


def test_an_answer_that_nobody_takes_is_given_up_in_time(
    function: Function, cloudformation: StartEndpoint, properties: dict[str, str]
) -> None:
    endpoint = cloudformation(statuses=[503] * 100)

    began = time.monotonic()
    function.send(endpoint.event("Create", properties), seconds=3)

    assert time.monotonic() - began < 3
    assert len(endpoint.requests) >= 2


def test_a_placeholder_is_answered_by_the_return_value_alone(
    function: Function, cloudformation: StartEndpoint, properties: dict[str, str]
) -> None:
    endpoint = cloudformation()
    event = {**endpoint.event("Create", properties), "ResponseURL": PLACEHOLDER}

    assert function.send(event)["Status"] == "SUCCESS"
    assert endpoint.requests == ()


def test_the_same_content_keeps_its_id_and_new_content_gets_a_new_one(
    function: Function,
    cloudformation: StartEndpoint,
    properties: dict[str, str],
    registry: RegistryServer,
) -> None:
    endpoint = cloudformation()
    first = function.send(endpoint.event("Create", properties))["PhysicalResourceId"]
    again = function.send(endpoint.event("Update", properties, physical_resource_id=first))
    digest = push_image(registry, seed=2)
    moved = function.send(endpoint.event("Update", properties, physical_resource_id=first))

    assert again["PhysicalResourceId"] == first
    assert moved["PhysicalResourceId"] == f"{registry.host}/mirror/app:1@{digest}"
    assert endpoint.violations == ()


def test_an_update_that_fails_keeps_the_old_id(
    function: Function, cloudformation: StartEndpoint, properties: dict[str, str]
) -> None:
    endpoint = cloudformation()
    event = endpoint.event(
        "Update", {**properties, "SrcImage": "UPPER/case"}, physical_resource_id="old-id"
    )

    answer = function.send(event)

    assert (answer["Status"], answer["PhysicalResourceId"]) == ("FAILED", "old-id")
    assert endpoint.violations == ()


def test_a_delete_retains_everything_and_is_answered_at_once(
    function: Function,
    cloudformation: StartEndpoint,
    properties: dict[str, str],
    registry: RegistryServer,
) -> None:
    endpoint = cloudformation()
    created = function.send(endpoint.event("Create", properties))
    registry.clear_requests()

    deleted = function.send(
        endpoint.event("Delete", properties, physical_resource_id=created["PhysicalResourceId"])
    )

    assert deleted["Status"] == "SUCCESS"
    assert deleted["PhysicalResourceId"] == created["PhysicalResourceId"]
    assert registry.requests == ()
    assert registry.store.tags("mirror/app").keys() == {"1"}


def test_the_id_of_a_failed_create_can_be_deleted(
    function: Function, cloudformation: StartEndpoint, registry: RegistryServer
) -> None:
    endpoint = cloudformation()
    properties = {"SrcImage": f"{registry.host}/no/such:1", "DestImage": f"{registry.host}/a:1"}
    failed = function.send(endpoint.event("Create", properties))

    deleted = function.send(
        endpoint.event("Delete", properties, physical_resource_id=failed["PhysicalResourceId"])
    )

    assert (failed["Status"], deleted["Status"]) == ("FAILED", "SUCCESS")
    assert endpoint.violations == ()


def test_nothing_of_one_event_is_left_for_the_next(
    function: Function, properties: dict[str, str], registry: RegistryServer
) -> None:
    function.create(source=properties["SrcImage"], destination=properties["DestImage"])

    failed = function.create(f"{registry.host}/no/such:1", properties["DestImage"])

    assert failed["Data"] == {}
    assert "mirror/app" not in failed["PhysicalResourceId"]


def test_a_copy_that_cannot_end_in_time_is_answered_before_lambda_ends_it(
    function: Function, cloudformation: StartEndpoint
) -> None:
    endpoint = cloudformation()
    properties = {
        "SrcImage": "127.0.0.1:9/no/body:listens",
        "DestImage": "127.0.0.1:9/there:1",
        "RetryConfigs": {"numAttempts": "20", "baseDelay": "1", "maxDelay": "30"},
    }

    began = time.monotonic()
    answer = function.send(endpoint.event("Create", properties), seconds=4)

    assert time.monotonic() - began < 4
    assert answer["Status"] == "FAILED"
    assert "127.0.0.1:9" in answer["Reason"]
    assert len(endpoint.answers) == 1
