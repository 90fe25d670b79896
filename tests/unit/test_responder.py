from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest

import responder
from responder import UndeliveredAnswerError, lambda_handler

URL = "https://cloudformation.example/answer?X-Amz-Signature=hunter2"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:replicator:$LATEST"
EVENT = {
    "RequestType": "Create",
    "ResponseURL": URL,
    "StackId": "stack",
    "RequestId": "request",
    "LogicalResourceId": "Image",
    "ResourceProperties": {"SrcCreds": "ann:open-sesame"},
}


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 30_000


class Deliveries:
    """Keeps what is delivered."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.taken = True

    def deliver(self, url: str, body: Mapping[str, Any], *, budget_seconds: float) -> bool:
        assert (url, budget_seconds) == (URL, 29.0)
        self.bodies.append(json.loads(json.dumps(body)))
        return self.taken


@pytest.fixture
def deliveries(monkeypatch: pytest.MonkeyPatch) -> Deliveries:
    fake = Deliveries()
    # what becomes of an answer on its way is tested with `answers`
    monkeypatch.setattr(responder, "deliver", fake.deliver)
    return fake


def record_of(
    event: object = EVENT, *, condition: str = "RetriesExhausted", **payload: Any
) -> dict[str, Any]:
    return {
        "version": "1.0",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "requestContext": {
            "requestId": "8ea123e4-1db7-4aca-ad10-d9ca1234c1fd",
            "functionArn": FUNCTION,
            "condition": condition,
            "approximateInvokeCount": 1,
        },
        "requestPayload": event,
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        },
        "responsePayload": payload,
    }


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (
            record_of(errorMessage="2026-01-01T00:00:00Z 8ea1 Task timed out after 900.00 seconds"),
            "was stopped at its timeout",
        ),
        (record_of(errorType="Sandbox.Timedout"), "was stopped at its timeout"),
        (
            record_of(
                errorType="Runtime.ExitError",
                errorMessage="RequestId: 8ea1 Error: Runtime exited with error: signal: killed",
            ),
            "was killed, most likely for want of memory",
        ),
        (record_of(errorType="Runtime.OutOfMemory"), "was killed, most likely for want of memory"),
        (record_of(condition="EventAgeExceeded"), "was not run in time"),
        (
            record_of(errorType="Runtime.ImportModuleError", errorMessage="SECRET"),
            "ended before it could answer (Runtime.ImportModuleError)",
        ),
        (record_of(errorType="two\nlines"), "ended before it could answer (no reason is known)"),
        ({"requestPayload": EVENT}, "ended before it could answer (no reason is known)"),
        (
            {"requestPayload": EVENT, "requestContext": 1, "responsePayload": "x"},
            "ended before it could answer (no reason is known)",
        ),
    ],
)
def test_an_invocation_that_could_not_answer_is_answered_for(
    deliveries: Deliveries, record: dict[str, Any], found: str
) -> None:
    body = lambda_handler(record, Context())
    assert deliveries.bodies == [body]
    assert body is not None
    assert body["Status"] == "FAILED"
    assert (body["StackId"], body["RequestId"]) == ("stack", "request")
    assert (body["LogicalResourceId"], body["PhysicalResourceId"]) == (
        "Image",
        "not-created/Image/request",
    )
    assert found in body["Reason"]
    assert "SECRET" not in body["Reason"]


def test_the_log_that_tells_more_is_named(deliveries: Deliveries) -> None:
    lambda_handler(record_of(errorType="X"), Context())
    assert deliveries.bodies[0]["Reason"].endswith(
        f"see the log of {FUNCTION} for its request 8ea123e4-1db7-4aca-ad10-d9ca1234c1fd"
    )


def test_a_resource_that_is_there_keeps_its_id(deliveries: Deliveries) -> None:
    lambda_handler(record_of({**EVENT, "PhysicalResourceId": "old"}, errorType="X"), Context())
    assert deliveries.bodies[0]["PhysicalResourceId"] == "old"


@pytest.mark.parametrize(
    "event",
    [
        None,
        "text",
        {},
        {**EVENT, "ResponseURL": "http://pre-signed-S3-url-for-response"},
        {**EVENT, "StackId": 1},
    ],
)
def test_nobody_is_answered_when_nobody_asked(deliveries: Deliveries, event: object) -> None:
    assert lambda_handler(record_of(event), Context()) is None
    assert deliveries.bodies == []


def test_an_answer_that_is_not_taken_lets_lambda_try_again(deliveries: Deliveries) -> None:
    deliveries.taken = False
    with pytest.raises(UndeliveredAnswerError):
        lambda_handler(record_of(errorType="X"), Context())


@pytest.mark.usefixtures("deliveries")
def test_the_record_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    lambda_handler(record_of(errorType="X"), Context())
    assert "answering for the request" in caplog.text
    assert "hunter2" not in caplog.text
    assert "open-sesame" not in caplog.text


def test_a_request_that_came_by_sns_is_answered_too(deliveries: Deliveries) -> None:
    notification = {"EventSource": "aws:sns", "Sns": {"Message": json.dumps(EVENT)}}
    record = record_of({"Records": [notification]}, errorType="Runtime.OutOfMemory")
    body = lambda_handler(record, Context())
    assert deliveries.bodies == [body]
    assert body is not None
    assert (body["StackId"], body["Status"]) == ("stack", "FAILED")
    assert "killed" in body["Reason"]
