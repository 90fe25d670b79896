from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.unit.builders import digest_of

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.copy.ports import Progress
from ecr_image_replicator.copy.results import TransferReport
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import DeniedError, Side, StoppedError
from ecr_image_replicator.outcome import Outcome
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import ReplicationRequest
from ecr_image_replicator.request.settings import Settings

URL = "https://cloudformation.example/answer?signature=hunter2"
PROPERTIES = {"SrcImage": "nginx:1.27", "DestImage": "quay.io/team/app:v1"}
DIGEST = digest_of(b"image")
NEW_ID = f"quay.io/team/app:v1@{DIGEST}"


class FakeContext:
    """Lambda's context, with all the time in the world unless told."""

    aws_request_id = "function-request"
    log_stream_name = "2026/11/21/[$LATEST]0123"

    def __init__(self, seconds: float = 900.0) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


class FakeReplicator(Replicator):
    """Does what the test says in place of a replication."""

    def __init__(self, work: Callable[[Deadline], None]) -> None:
        super().__init__(Settings())
        self._work = work
        self.requests: list[ReplicationRequest] = []
        self.previous: list[str] = []

    def replicate(
        self,
        request: ReplicationRequest,
        *,
        deadline: Deadline,
        progress: Progress,
        previous: str = "",
        **_: object,
    ) -> Outcome:
        assert progress is not None
        self.requests.append(request)
        self.previous.append(previous)
        self._work(deadline)
        return Outcome(
            request.destination, DIGEST, "application/x", (), True, TransferReport(), 1.0
        )


class Endpoint:
    """Keeps what is delivered."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.budgets: list[float] = []

    def deliver(self, url: str, body: Mapping[str, Any], *, budget_seconds: float) -> bool:
        assert url == URL
        self.bodies.append(json.loads(json.dumps(body)))
        self.budgets.append(budget_seconds)
        return True


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    fake = Endpoint()
    # what becomes of an answer on its way is tested with `answers`
    monkeypatch.setattr("custom_resource.resource.deliver", fake.deliver)
    return fake


def _resource(work: Callable[[Deadline], None] = lambda _: None) -> ReplicationResource:
    engine = FakeReplicator(work)
    return ReplicationResource(lambda: engine)


def _raising(error: Exception) -> Callable[[Deadline], None]:
    def work(_: Deadline) -> None:
        raise error

    return work


def _event(request_type: str = "Create", **more: Any) -> dict[str, Any]:
    return {
        "RequestType": request_type,
        "ResponseURL": URL,
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Image",
        "ResourceType": "Custom::Image",
        "ResourceProperties": PROPERTIES,
        **more,
    }


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_a_replication_is_answered_with_what_is_there(
    endpoint: Endpoint, request_type: str
) -> None:
    body = _resource().answer(_event(request_type, PhysicalResourceId="old"), FakeContext())
    assert endpoint.bodies == [body]
    assert (body["Status"], body["PhysicalResourceId"]) == ("SUCCESS", NEW_ID)
    assert (body["StackId"], body["RequestId"]) == ("stack", "request")
    assert body["LogicalResourceId"] == "Image"
    assert body["Data"]["ImageDigest"] == str(DIGEST)
    assert "Reason" not in body


def test_a_delete_retains_everything(endpoint: Endpoint) -> None:
    body = _resource(_raising(AssertionError())).answer(
        _event("Delete", PhysicalResourceId=NEW_ID, ResourceProperties={"Wrong": 1}), FakeContext()
    )
    assert endpoint.bodies == [body]
    assert (body["Status"], body["PhysicalResourceId"]) == ("SUCCESS", NEW_ID)


def test_a_failure_is_told_with_its_sentence_and_the_log_stream(endpoint: Endpoint) -> None:
    body = _resource(_raising(DeniedError("it was refused", side=Side.SOURCE))).answer(
        _event(), FakeContext()
    )
    assert endpoint.bodies == [body]
    assert body["Status"] == "FAILED"
    assert body["Reason"] == "it was refused; see the log stream 2026/11/21/[$LATEST]0123"
    assert body["Data"] == {}


@pytest.mark.usefixtures("endpoint")
def test_a_failed_create_has_an_id_of_its_own_that_names_no_image() -> None:
    resource = _resource(_raising(DeniedError("no", side=Side.SOURCE)))
    body = resource.answer(_event(), FakeContext())
    assert body["PhysicalResourceId"] == "not-created/Image/request"
    deleted = resource.answer(
        _event("Delete", PhysicalResourceId=body["PhysicalResourceId"]), FakeContext()
    )
    assert deleted["Status"] == "SUCCESS"
    assert deleted["PhysicalResourceId"] == body["PhysicalResourceId"]


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize("old", [NEW_ID, 7])
def test_a_failed_update_keeps_the_old_id(old: object) -> None:
    body = _resource(_raising(DeniedError("no", side=Side.SOURCE))).answer(
        _event("Update", PhysicalResourceId=old), FakeContext()
    )
    assert (body["Status"], body["PhysicalResourceId"]) == ("FAILED", str(old))


@pytest.mark.usefixtures("endpoint")
def test_properties_that_make_no_sense_are_a_failure() -> None:
    wrong: tuple[object, ...] = (None, [], {"SrcImg": "a"}, "text")
    for properties in wrong:
        body = _resource().answer(_event(ResourceProperties=properties), FakeContext())
        assert body["Status"] == "FAILED"
    assert (
        "Did you mean 'SrcImage'?"
        in _resource().answer(_event(ResourceProperties={"SrcImg": "a"}), FakeContext())["Reason"]
    )


@pytest.mark.parametrize("request_type", ["Read", "create", "func", "", None, 7, "__init__"])
def test_an_unknown_request_type_is_refused_in_words(
    endpoint: Endpoint, request_type: object
) -> None:
    body = _resource().answer(_event() | {"RequestType": request_type}, FakeContext())
    assert endpoint.bodies == [body]
    assert body["Status"] == "FAILED"
    assert body["Reason"].startswith(f"the RequestType {str(request_type)!r} is not known")


def test_a_defect_is_told_by_its_place_and_never_by_its_message(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body = _resource(_raising(RuntimeError(f"GET {URL} failed"))).answer(_event(), FakeContext())
    assert endpoint.bodies == [body]
    assert body["Status"] == "FAILED"
    assert "a RuntimeError at test_resource.py:" in body["Reason"]
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert "hunter2" not in body["Reason"]
    assert "hunter2" not in logged
    assert "test_resource.py" in logged


def test_the_engines_own_making_may_fail_too(endpoint: Endpoint) -> None:
    def broken() -> Replicator:
        raise ImportError("no such layer")

    body = ReplicationResource(broken).answer(_event(), FakeContext())
    assert endpoint.bodies == [body]
    assert body["Status"] == "FAILED"


def test_the_response_url_and_the_event_are_not_logged(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    properties = PROPERTIES | {"SrcCreds": "user:hunter3"}
    _resource().answer(_event(ResourceProperties=properties), FakeContext())
    _resource().answer(_event("Bogus", ResourceProperties=properties), FakeContext())
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert len(endpoint.bodies) == 2
    assert "hunter" not in logged


@pytest.mark.parametrize(
    "url", ["http://pre-signed-S3-url-for-response", "", "http://localhost/x", None, "ftp://a"]
)
def test_without_an_https_url_the_return_value_is_the_answer(
    endpoint: Endpoint, url: object
) -> None:
    body = _resource().answer(_event() | {"ResponseURL": url}, FakeContext())
    assert body["Status"] == "SUCCESS"
    assert endpoint.bodies == []


def test_an_event_typed_by_hand_needs_only_properties(endpoint: Endpoint) -> None:
    body = _resource().answer({"ResourceProperties": PROPERTIES}, FakeContext())
    assert endpoint.bodies == []
    assert (body["Status"], body["PhysicalResourceId"]) == ("SUCCESS", NEW_ID)
    assert body["RequestId"] == "function-request"


def test_an_event_cannot_bring_crhelpers_own_fields(endpoint: Endpoint) -> None:
    body = _resource().answer(
        _event(CrHelperData={"Forged": "1"}, CrHelperPoll=True, CrHelperRule="arn"), FakeContext()
    )
    assert endpoint.bodies == [body]
    assert "Forged" not in body["Data"]


def test_nothing_is_left_over_from_an_invocation_before(endpoint: Endpoint) -> None:
    errors: list[Exception | None] = [None, DeniedError("no", side=Side.SOURCE), None]

    def work(deadline: Deadline) -> None:
        assert deadline.remaining_seconds > 0
        error = errors.pop(0)
        deadline.stop()  # must not reach the next one's
        if error is not None:
            raise error

    resource = _resource(work)
    first = resource.answer(_event(), FakeContext())
    second = resource.answer(_event(RequestId="second"), FakeContext())
    third = resource.answer(_event(RequestId="third"), FakeContext())
    assert endpoint.bodies == [first, second, third]
    assert (second["Status"], second["Data"]) == ("FAILED", {})
    assert second["PhysicalResourceId"] == "not-created/Image/second"
    assert third == first | {"RequestId": "third"}


def test_only_the_first_answer_counts_however_often_it_is_sent(endpoint: Endpoint) -> None:
    resource = _resource()
    body = resource.answer(_event(), FakeContext())
    threads = [
        threading.Thread(target=resource._send, args=("FAILED", "again"))  # noqa: SLF001
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert endpoint.bodies == [body]


def test_a_timer_that_is_first_answers_and_stops_the_work(endpoint: Endpoint) -> None:
    def work(deadline: Deadline) -> None:
        with pytest.raises(StoppedError):
            # past the moment at which the timer must go off
            deadline.check("go on") if answered.wait(10) else None
        deadline.check("go on")

    class Signalling(Endpoint):
        def deliver(self, url: str, body: Mapping[str, Any], *, budget_seconds: float) -> bool:
            answered.set()
            return endpoint.deliver(url, body, budget_seconds=budget_seconds)

    answered = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("custom_resource.resource.deliver", Signalling().deliver)
        body = _resource(work).answer(
            _event("Update", PhysicalResourceId="old"), FakeContext(seconds=0.6)
        )
    assert endpoint.bodies == [body]
    assert (body["Status"], body["PhysicalResourceId"]) == ("FAILED", "old")
    assert body["Reason"].startswith("the time was over: 0 of 0 bytes were there")
    assert body["Reason"].endswith("0123")
    assert body["Data"] == {}


def test_a_timer_that_wins_over_work_that_is_done_does_not_name_its_content(
    endpoint: Endpoint,
) -> None:
    resource = _resource()

    def late(_: Deadline) -> None:
        resource.PhysicalResourceId = NEW_ID
        resource._timeout()  # noqa: SLF001

    resource._replicator = lambda: FakeReplicator(late)  # noqa: SLF001
    body = resource.answer(_event("Update", PhysicalResourceId="old"), FakeContext())
    assert endpoint.bodies == [body]
    assert (body["Status"], body["PhysicalResourceId"]) == ("FAILED", "old")


def test_no_timer_outlives_its_event(endpoint: Endpoint) -> None:
    _resource().answer(_event(), FakeContext())
    assert len(endpoint.bodies) == 1
    assert not [each for each in threading.enumerate() if isinstance(each, threading.Timer)]


@pytest.mark.parametrize(
    ("seconds", "left"), [(900, 880), (100, 90), (12, 10), (3, 1.5), (0.2, 0.1)]
)
def test_a_share_of_the_time_is_kept_for_the_answer(
    endpoint: Endpoint, seconds: float, left: float
) -> None:
    seen: list[float] = []
    _resource(lambda deadline: seen.append(deadline.remaining_seconds)).answer(
        _event(), FakeContext(seconds)
    )
    assert endpoint.bodies
    assert left - 0.3 <= seen[0] <= left
    assert endpoint.budgets[0] < seconds


def test_the_work_ends_before_cloudformation_stops_to_listen(endpoint: Endpoint) -> None:
    seen: list[float] = []
    properties = {**PROPERTIES, "ServiceTimeout": "60"}
    _resource(lambda deadline: seen.append(deadline.remaining_seconds)).answer(
        _event(ResourceProperties=properties), FakeContext(900)
    )
    assert endpoint.bodies
    assert 53 < seen[0] <= 54


def test_an_event_that_comes_twice_is_worked_on_and_answered_once(endpoint: Endpoint) -> None:
    works: list[Deadline] = []
    resource = _resource(works.append)
    first = resource.answer(_event(), FakeContext())
    assert resource.answer(_event(), FakeContext()) == first
    assert resource.answer(_event(RequestId="another"), FakeContext()) != first
    assert len(works) == len(endpoint.bodies) == 2


def test_an_answer_that_was_not_taken_is_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    deliveries: list[str] = []

    def refuse(url: str, body: Mapping[str, Any], *, budget_seconds: float) -> bool:
        assert url
        assert budget_seconds
        deliveries.append(body["Status"])
        return False

    monkeypatch.setattr("custom_resource.resource.deliver", refuse)
    resource = _resource()
    resource.answer(_event(), FakeContext())
    resource.answer(_event(), FakeContext())
    assert deliveries == ["SUCCESS", "SUCCESS"]


def test_making_the_resource_leaves_the_root_log_and_the_environment_alone() -> None:
    level, before = logging.root.level, dict(os.environ)
    _resource()
    assert logging.root.level == level
    assert dict(os.environ) == before
