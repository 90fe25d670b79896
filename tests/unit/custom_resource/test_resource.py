from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.builders import FakeClock
from tests.unit.custom_resource.engines import (
    DIGEST,
    NEW_ID,
    PROPERTIES,
    URL,
    Endpoint,
    FakeContext,
    FakeReplicator,
    event_of,
    raising,
)

from custom_resource.metrics import InvocationMetrics
from custom_resource.resource import ReplicationResource
from custom_resource.response import UndeliveredResponseError
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import (
    DeniedError,
    OutOfTimeError,
    Setting,
    Side,
    StoppedError,
)
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.allow_lists import AllowLists
from ecr_image_replicator.request.settings import Settings

OPEN = Settings()
BOUNDED = Settings(allowed=AllowLists.parse("", "quay.io"))


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    fake = Endpoint()
    # delivery itself is tested against a real endpoint
    monkeypatch.setattr("custom_resource.invocation.deliver", fake.deliver)
    return fake


def resource_of(
    work: Callable[[Deadline], None] = lambda _: None, settings: Settings = OPEN
) -> ReplicationResource:
    engine = FakeReplicator(work, settings)
    return ReplicationResource(lambda: engine)


def denied() -> DeniedError:
    return DeniedError("cannot pull X: access denied (403 Forbidden)", side=Side.SOURCE)


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_a_replication_responds_with_its_attributes(endpoint: Endpoint, request_type: str) -> None:
    body = resource_of().respond(event_of(request_type, PhysicalResourceId="old"), FakeContext())
    assert endpoint.bodies == [body]
    assert (body["Status"], body["PhysicalResourceId"]) == ("SUCCESS", NEW_ID)
    assert (body["StackId"], body["RequestId"]) == ("stack", "request")
    assert body["LogicalResourceId"] == "Image"
    assert body["Data"]["ImageDigest"] == str(DIGEST)
    assert "Reason" not in body


def test_delete_retains_everything_by_default(endpoint: Endpoint) -> None:
    body = resource_of(raising(AssertionError())).respond(
        event_of("Delete", PhysicalResourceId=NEW_ID, ResourceProperties={"Wrong": 1}),
        FakeContext(),
    )
    assert endpoint.bodies == [body]
    assert (body["Status"], body["PhysicalResourceId"]) == ("SUCCESS", NEW_ID)


def test_a_failure_has_a_reason_that_ends_with_the_log_stream(endpoint: Endpoint) -> None:
    body = resource_of(raising(denied())).respond(event_of(), FakeContext())
    assert endpoint.bodies == [body]
    assert body["Status"] == "FAILED"
    assert body["Reason"] == (
        "cannot pull X: access denied (403 Forbidden). Log stream: 2026/11/21/[$LATEST]0123"
    )
    assert body["Data"] == {}


@pytest.mark.usefixtures("endpoint")
def test_a_reason_uses_property_names() -> None:
    error = DeniedError("access denied", side=Side.SOURCE, hint=("Set ", Setting.RETRIES, "."))
    body = resource_of(raising(error)).respond(event_of(), FakeContext())
    assert body["Reason"].startswith("access denied. Set RetryConfigs. Log stream")


@pytest.mark.usefixtures("endpoint")
def test_deleting_a_failed_create_does_nothing() -> None:
    resource = resource_of(raising(denied()))
    body = resource.respond(event_of(), FakeContext())
    assert body["PhysicalResourceId"] == "not-created/Image/request"
    deleted = resource.respond(
        event_of("Delete", PhysicalResourceId=body["PhysicalResourceId"]), FakeContext()
    )
    assert deleted["Status"] == "SUCCESS"
    assert deleted["PhysicalResourceId"] == body["PhysicalResourceId"]


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize("old", [NEW_ID, 7])
def test_a_failed_update_keeps_the_physical_id(old: object) -> None:
    body = resource_of(raising(denied())).respond(
        event_of("Update", PhysicalResourceId=old), FakeContext()
    )
    assert (body["Status"], body["PhysicalResourceId"]) == ("FAILED", str(old))


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize("properties", [None, [], {"SrcImg": "a"}, "text"])
def test_invalid_properties_are_a_failure(properties: object) -> None:
    body = resource_of().respond(event_of(ResourceProperties=properties), FakeContext())
    assert body["Status"] == "FAILED"
    assert "Image" in body["Reason"]


@pytest.mark.parametrize("request_type", ["Read", "create", "func", "", None, 7, "__init__"])
def test_an_unknown_request_type_is_invalid(endpoint: Endpoint, request_type: object) -> None:
    body = resource_of().respond(event_of() | {"RequestType": request_type}, FakeContext())
    assert endpoint.bodies == [body]
    assert body["Status"] == "FAILED"
    assert body["Reason"].startswith(f"invalid RequestType {str(request_type)!r}: CloudFormation")


def test_an_internal_error_has_its_location_and_not_its_message(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body = resource_of(raising(RuntimeError(f"GET {URL} failed"))).respond(
        event_of(), FakeContext()
    )
    assert endpoint.bodies == [body]
    assert body["Status"] == "FAILED"
    assert body["Reason"].startswith("internal error: RuntimeError at engines.py:")
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert "hunter2" not in body["Reason"]
    assert "hunter2" not in logged
    assert "engines.py" in logged


def test_an_engine_that_cannot_be_created_is_a_failure(endpoint: Endpoint) -> None:
    def broken() -> Replicator:
        raise ImportError("no such layer")

    body = ReplicationResource(broken).respond(event_of(), FakeContext())
    assert endpoint.bodies == [body]
    assert body["Status"] == "FAILED"


def test_the_response_url_and_the_event_are_not_logged(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    properties = PROPERTIES | {"SrcCreds": "user:hunter3"}
    resource_of().respond(event_of(ResourceProperties=properties), FakeContext())
    resource_of().respond(event_of("Bogus", ResourceProperties=properties), FakeContext())
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert len(endpoint.bodies) == 2
    assert "hunter" not in logged


@pytest.mark.parametrize(
    "url", ["http://pre-signed-S3-url-for-response", "", "http://localhost/x", None, "ftp://a"]
)
def test_a_response_without_an_https_url_is_only_returned(endpoint: Endpoint, url: object) -> None:
    body = resource_of().respond(event_of() | {"ResponseURL": url}, FakeContext())
    assert body["Status"] == "SUCCESS"
    assert endpoint.bodies == []


@pytest.mark.parametrize("url", ["https://evil.example/x", "HTTPS://evil.example", "https:x"])
def test_another_response_host_fails_the_request_before_any_work(
    endpoint: Endpoint, url: str
) -> None:
    body = resource_of(raising(AssertionError())).respond(
        event_of() | {"ResponseURL": url}, FakeContext()
    )
    assert body["Status"] == "FAILED"
    assert body["Reason"].startswith("the host of ResponseURL is not allowed")
    assert "evil" not in body["Reason"]
    assert endpoint.bodies == []


def test_an_event_cannot_set_crhelpers_own_fields(endpoint: Endpoint) -> None:
    body = resource_of().respond(
        event_of(CrHelperData={"Forged": "1"}, CrHelperPoll=True, CrHelperRule="arn"),
        FakeContext(),
    )
    assert endpoint.bodies == [body]
    assert "Forged" not in body["Data"]


def test_no_state_is_kept_from_an_earlier_invocation(endpoint: Endpoint) -> None:
    errors: list[Exception | None] = [None, denied(), None]

    def work(deadline: Deadline) -> None:
        assert deadline.remaining_seconds > 0
        error = errors.pop(0)
        deadline.stop()  # must not affect the next invocation
        if error is not None:
            raise error

    resource = resource_of(work)
    first = resource.respond(event_of(), FakeContext())
    second = resource.respond(event_of(RequestId="second"), FakeContext())
    third = resource.respond(event_of(RequestId="third"), FakeContext())
    assert endpoint.bodies == [first, second, third]
    assert (second["Status"], second["Data"]) == ("FAILED", {})
    assert second["PhysicalResourceId"] == "not-created/Image/second"
    assert third == first | {"RequestId": "third"}


def test_the_timer_responds_and_stops_the_replication(endpoint: Endpoint) -> None:
    responded = threading.Event()
    deliver = endpoint.deliver

    def work(deadline: Deadline) -> None:
        assert responded.wait(60)
        with pytest.raises(StoppedError):
            deadline.check("go on")
        deadline.check("go on")

    def deliver_and_signal(*arguments: Any, **named: Any) -> bool:
        responded.set()
        return deliver(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("custom_resource.invocation.deliver", deliver_and_signal)
        body = resource_of(work).respond(
            event_of("Update", PhysicalResourceId="old"), FakeContext(seconds=0.6)
        )
    assert endpoint.bodies == [body]
    assert (body["Status"], body["PhysicalResourceId"]) == ("FAILED", "old")
    assert body["Reason"].startswith("timed out: ")
    assert body["Reason"].endswith("0123")
    assert body["Data"] == {}


def test_no_timer_remains_after_an_event(endpoint: Endpoint) -> None:
    resource_of().respond(event_of(), FakeContext())
    assert len(endpoint.bodies) == 1
    assert not [each for each in threading.enumerate() if isinstance(each, threading.Timer)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The clock of invocations and their deadlines."""
    clock = FakeClock()
    monkeypatch.setattr(
        "custom_resource.invocation.time", SimpleNamespace(time=clock, monotonic=clock)
    )
    monkeypatch.setattr(
        "custom_resource.invocation.Deadline", functools.partial(Deadline, clock=clock)
    )
    return clock


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("seconds", "left"), [(900, 880), (100, 90), (12, 10), (3, 1.5), (0.2, 0.1)]
)
def test_the_deadline_reserves_time_for_the_response(
    endpoint: Endpoint, seconds: float, left: float
) -> None:
    seen: list[float] = []
    resource_of(lambda deadline: seen.append(deadline.remaining_seconds)).respond(
        event_of(), FakeContext(seconds)
    )
    assert endpoint.bodies
    assert seen == [pytest.approx(left)]
    assert endpoint.budgets[0] < seconds


@pytest.mark.usefixtures("clock")
def test_the_deadline_is_before_the_service_timeout(endpoint: Endpoint) -> None:
    seen: list[float] = []
    properties = {**PROPERTIES, "ServiceTimeout": "60"}
    resource_of(lambda deadline: seen.append(deadline.remaining_seconds)).respond(
        event_of(ResourceProperties=properties), FakeContext(900)
    )
    assert endpoint.bodies
    assert seen == [54]


def test_an_event_delivered_twice_is_processed_once(endpoint: Endpoint) -> None:
    works: list[Deadline] = []
    resource = resource_of(works.append)
    first = resource.respond(event_of(), FakeContext())
    assert resource.respond(event_of(), FakeContext()) == first
    assert resource.respond(event_of(RequestId="another"), FakeContext()) != first
    assert len(works) == len(endpoint.bodies) == 2


@pytest.mark.parametrize("error", [None, denied(), OutOfTimeError("timed out")])
def test_an_undelivered_response_raises_and_is_not_remembered(
    endpoint: Endpoint, error: Exception | None
) -> None:
    endpoint.accepts = False
    resource = resource_of(raising(error) if error else lambda _: None)
    for _ in range(2):
        with pytest.raises(UndeliveredResponseError, match="cannot deliver the response"):
            resource.respond(event_of(), FakeContext())
    assert len(endpoint.bodies) == 2


def test_a_request_through_sns_requires_alloweddestinations(endpoint: Endpoint) -> None:
    rejected = resource_of(raising(AssertionError())).respond(
        event_of(), FakeContext(), is_from_topic=True
    )
    served = resource_of(settings=BOUNDED).respond(event_of(), FakeContext(), is_from_topic=True)
    assert endpoint.bodies == [rejected, served]
    assert (rejected["Status"], served["Status"]) == ("FAILED", "SUCCESS")
    assert "not allowed while the function's AllowedDestinations is empty" in rejected["Reason"]


def test_a_delete_through_sns_without_changes_succeeds(endpoint: Endpoint) -> None:
    untag = {**PROPERTIES, "OnDelete": "Untag"}
    failed = event_of("Delete", PhysicalResourceId="not-created/Image/1", ResourceProperties=untag)
    real = event_of("Delete", PhysicalResourceId=NEW_ID, ResourceProperties=untag, RequestId="2")
    resource = resource_of()
    statuses = [
        resource.respond(each, FakeContext(), is_from_topic=True)["Status"]
        for each in (failed, real)
    ]
    assert statuses == ["SUCCESS", "FAILED"]
    assert len(endpoint.bodies) == 2


def recorded(work: Callable[[Deadline], None] = lambda _: None, **event: Any) -> InvocationMetrics:
    found: list[InvocationMetrics] = []
    request = {**event_of(), "ResponseURL": "", **event}
    resource_of(work).respond(request, FakeContext(), record=found.append)
    return found[0] if found else InvocationMetrics("NOTHING", 0)


def test_the_metrics_of_a_success() -> None:
    metrics = recorded()
    assert (metrics.status, metrics.is_changed, metrics.cause) == ("SUCCESS", True, "")
    assert metrics.seconds >= 0


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (denied(), "Denied"),
        (OutOfTimeError("timed out"), "OutOfTime"),
        (KeyError("hunter2"), "Defect"),
    ],
)
def test_the_metrics_of_a_failure_name_its_cause(error: Exception, cause: str) -> None:
    metrics = recorded(raising(error))
    assert (metrics.status, metrics.cause) == ("FAILED", cause)


def test_metrics_have_a_cause_for_invalid_properties_and_response_hosts() -> None:
    assert recorded(ResourceProperties={"SrcImg": "a"}).cause == "Request"
    assert recorded(ResponseURL="https://evil.example/").cause == "NotAllowed"


def test_a_dry_run_is_not_recorded() -> None:
    dry = {**PROPERTIES, "DryRun": "true"}
    assert recorded(ResourceProperties=dry).status == "NOTHING"


def test_a_successful_delete_is_not_recorded() -> None:
    deleted = recorded(RequestType="Delete", PhysicalResourceId="not-created/Image/1")
    assert deleted.status == "NOTHING"
    assert recorded(RequestType="Remove").status == "FAILED"


def test_an_undelivered_response_is_recorded(endpoint: Endpoint) -> None:
    endpoint.accepts = False
    found: list[InvocationMetrics] = []
    with pytest.raises(UndeliveredResponseError):
        resource_of().respond(event_of(), FakeContext(), record=found.append)
    assert [each.status for each in found] == ["SUCCESS"]


def test_creating_the_resource_does_not_change_root_logger_and_environment() -> None:
    level, before = logging.root.level, dict(os.environ)
    resource_of()
    assert logging.root.level == level
    assert dict(os.environ) == before
