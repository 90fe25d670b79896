"""Responses to CloudFormation events: delivery, physical IDs and failures."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.images import build_image, build_layer, push
from local.registry import RegistryServer
from tests.functional.conftest import PLACEHOLDER, FakeContext, Function
from tests.unit.builders import FakeClock

from custom_resource.response import CustomResourceResponse, UndeliveredResponseError, deliver
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.trust_store import response_context

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


def test_the_response_is_delivered_and_returned(
    function: Function, cloudformation: StartEndpoint, properties: dict[str, str]
) -> None:
    endpoint = cloudformation()
    event = endpoint.event("Create", properties)

    returned = function.send(event)

    assert [each.document for each in endpoint.responses] == [returned]
    assert returned["Status"] == "SUCCESS"
    assert endpoint.violations == ()


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_a_response_to_a_loopback_address_does_not_go_through_the_proxy(
    function: Function,
    cloudformation: StartEndpoint,
    properties: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    endpoint = cloudformation()
    with socket.socket() as unused:  # bound and not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv(variable, f"http://127.0.0.1:{unused.getsockname()[1]}")

        returned = function.send(endpoint.event("Create", properties), seconds=10)

    assert [each.document for each in endpoint.responses] == [returned]


def test_the_reason_of_a_failure_ends_with_the_log_stream(
    function: Function, cloudformation: StartEndpoint, properties: dict[str, str]
) -> None:
    endpoint = cloudformation()

    function.send(endpoint.event("Create", {**properties, "ImageArch": ["s390x"]}))

    (response,) = endpoint.responses
    assert response.status == "FAILED"
    assert response.reason is not None
    assert response.reason.endswith(FakeContext.log_stream_name)
    assert endpoint.violations == ()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of deadlines and deliveries: waits take no time."""
    clock = FakeClock()
    deadline = functools.partial(Deadline, clock=clock, wait=clock.wait)
    monkeypatch.setattr("custom_resource.invocation.Deadline", deadline)
    monkeypatch.setattr(
        "custom_resource.invocation.deliver",
        functools.partial(deliver, clock=clock, sleep=clock.sleep),
    )
    return clock


@pytest.mark.usefixtures("clock")
def test_a_response_is_delivered_again_after_a_temporary_failure(
    function: Function, cloudformation: StartEndpoint, properties: dict[str, str]
) -> None:
    endpoint = cloudformation(statuses=[500, 503])

    function.send(endpoint.event("Create", properties))

    assert len(endpoint.responses) == 1
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

    clock = FakeClock()

    def deliver_once(number: int, budget_seconds: float = 60) -> bool:
        url, tls = events[number]["ResponseURL"], response_context()
        return deliver(
            url,
            bodies[number],
            budget_seconds=budget_seconds,
            tls=tls,
            clock=clock,
            sleep=clock.sleep,
        )

    assert deliver_once(0)
    trusted.unlink()
    assert deliver_once(1)
    # another value of the variable selects another trust store
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert not deliver_once(2, 0.4)


def test_a_403_for_the_response_is_not_retried(
    function: Function, cloudformation: StartEndpoint, properties: dict[str, str]
) -> None:
    endpoint = cloudformation(statuses=[403])

    with pytest.raises(UndeliveredResponseError):
        function.send(endpoint.event("Create", properties))

    assert len(endpoint.requests) == 1


@pytest.mark.usefixtures("clock")
def test_a_response_is_retried_until_the_deadline(
    function: Function, cloudformation: StartEndpoint, properties: dict[str, str]
) -> None:
    endpoint = cloudformation(statuses=[503] * 100)

    with pytest.raises(UndeliveredResponseError):
        function.send(endpoint.event("Create", properties))

    # after 0.5, 1 and 2 s and so on
    assert len(endpoint.requests) >= 4


def test_a_placeholder_url_only_returns_the_response(
    function: Function, cloudformation: StartEndpoint, properties: dict[str, str]
) -> None:
    endpoint = cloudformation()
    event = {**endpoint.event("Create", properties), "ResponseURL": PLACEHOLDER}

    assert function.send(event)["Status"] == "SUCCESS"
    assert endpoint.requests == ()


def test_new_content_gets_a_new_physical_id(
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


def test_a_failed_update_keeps_the_physical_id(
    function: Function, cloudformation: StartEndpoint, properties: dict[str, str]
) -> None:
    endpoint = cloudformation()
    event = endpoint.event(
        "Update", {**properties, "SrcImage": "UPPER/case"}, physical_resource_id="old-id"
    )

    response = function.send(event)

    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", "old-id")
    assert endpoint.violations == ()


def test_a_delete_with_the_default_ondelete_sends_no_request(
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


def test_the_physical_id_of_a_failed_create_can_be_deleted(
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


def test_a_failed_event_has_no_data_of_the_previous_event(
    function: Function, properties: dict[str, str], registry: RegistryServer
) -> None:
    function.create(source=properties["SrcImage"], destination=properties["DestImage"])

    failed = function.create(f"{registry.host}/no/such:1", properties["DestImage"])

    assert failed["Data"] == {}
    assert "mirror/app" not in failed["PhysicalResourceId"]


def test_a_response_is_sent_before_the_lambda_timeout(
    function: Function, cloudformation: StartEndpoint, clock: FakeClock
) -> None:
    endpoint = cloudformation()
    properties = {
        "SrcImage": "127.0.0.1:9/no/body:listens",
        "DestImage": "127.0.0.1:9/there:1",
        "RetryConfigs": {"numAttempts": "20", "baseDelay": "1", "maxDelay": "30"},
    }

    began_at = clock()
    response = function.send(endpoint.event("Create", properties))

    assert clock() - began_at < 280  # the rest is reserved for the response
    assert response["Status"] == "FAILED"
    assert "127.0.0.1:9" in response["Reason"]
    assert len(endpoint.responses) == 1


def test_a_response_url_on_another_host_is_rejected(
    function: Function,
    cloudformation: StartEndpoint,
    properties: dict[str, str],
    registry: RegistryServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint = cloudformation()
    monkeypatch.setenv("RESPONSE_HOSTS", "")
    registry.clear_requests()

    body = function.send(endpoint.event("Create", properties))

    assert body["Status"] == "FAILED"
    assert "the host of ResponseURL is not allowed" in body["Reason"]
    assert endpoint.requests == registry.requests == ()


@pytest.mark.usefixtures("clock")
def test_a_failed_delivery_logs_its_reason_without_the_url(
    function: Function,
    cloudformation: StartEndpoint,
    properties: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    event = cloudformation().event("Create", properties)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))

    with pytest.raises(UndeliveredResponseError):
        function.send(event)

    assert "cannot connect: unable to get local issuer certificate" in caplog.text
    assert "X-Amz-Signature" not in caplog.text
