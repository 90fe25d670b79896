from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest

import responder
from custom_resource.response import UndeliveredResponseError
from responder import lambda_handler

URL = (
    "https://cloudformation-custom-resource-response-euwest1.s3.eu-west-1.amazonaws.com/response"
    "?X-Amz-Signature=hunter2"
)
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
    """A response endpoint that records the delivered responses."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.accepts = True

    def deliver(self, url: str, body: Mapping[str, Any], *, budget_seconds: float) -> bool:
        assert (url, budget_seconds) == (URL, 29.0)
        self.bodies.append(json.loads(json.dumps(body)))
        return self.accepts


@pytest.fixture
def deliveries(monkeypatch: pytest.MonkeyPatch) -> Deliveries:
    fake = Deliveries()
    # delivery itself is tested against a real endpoint
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


KILLED = "RequestId: 8ea1 Error: Runtime exited with error: signal: killed"
UNKNOWN = "the function ended without a response (no error type)"


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (
            record_of(errorMessage="2026-01-01T00:00:00Z 8ea1 Task timed out after 900.00 seconds"),
            "the function timed out",
        ),
        (record_of(errorType="Sandbox.Timedout"), "the function timed out"),
        (
            record_of(errorType="Runtime.ExitError", errorMessage=KILLED),
            "the function was killed, probably out of memory",
        ),
        (record_of(errorType="Runtime.OutOfMemory"), "the function was killed, probably out of"),
        (
            record_of(errorType="UndeliveredResponseError", errorMessage="SECRET"),
            "the function could not deliver its response",
        ),
        (
            record_of(condition="EventAgeExceeded"),
            "Lambda did not run the function within an hour",
        ),
        (
            record_of(condition="ZeroReservedConcurrency"),
            "the function's reserved concurrency is 0",
        ),
        (record_of(condition="RecursiveInvocation"), "Lambda detected a recursive loop"),
        (
            record_of(condition="FutureCondition"),
            "Lambda did not run the function and reports FutureCondition",
        ),
        (
            record_of(condition="two\nlines"),
            "Lambda did not run the function and reports an unknown condition",
        ),
        (
            record_of(errorType="Runtime.ImportModuleError", errorMessage="SECRET"),
            "the function ended without a response (Runtime.ImportModuleError)",
        ),
        (record_of(errorType="two\nlines"), UNKNOWN),
        ({"requestPayload": EVENT}, UNKNOWN),
        ({"requestPayload": EVENT, "requestContext": 1, "responsePayload": "x"}, UNKNOWN),
    ],
)
def test_the_reason_has_the_cause_of_the_failed_invocation(
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
    assert body["Reason"].startswith(f"replication failed: {found}")
    assert "SECRET" not in body["Reason"]


def test_the_reason_ends_with_the_function_and_the_request_id(deliveries: Deliveries) -> None:
    lambda_handler(record_of(errorType="X"), Context())
    assert deliveries.bodies[0]["Reason"].endswith(
        f"Log: {FUNCTION}, request 8ea123e4-1db7-4aca-ad10-d9ca1234c1fd"
    )


def test_an_existing_resource_keeps_its_id(deliveries: Deliveries) -> None:
    lambda_handler(record_of({**EVENT, "PhysicalResourceId": "old"}, errorType="X"), Context())
    assert deliveries.bodies[0]["PhysicalResourceId"] == "old"


@pytest.mark.parametrize(
    "event",
    [
        None,
        "text",
        {},
        {**EVENT, "ResponseURL": "http://pre-signed-S3-url-for-response"},
        {**EVENT, "ResponseURL": "https://evil.example/x"},
        {**EVENT, "StackId": 1},
    ],
)
def test_no_response_is_sent_without_a_cloudformation_request(
    deliveries: Deliveries, event: object
) -> None:
    assert lambda_handler(record_of(event), Context()) is None
    assert deliveries.bodies == []


def test_an_undelivered_response_raises_an_error(deliveries: Deliveries) -> None:
    deliveries.accepts = False
    with pytest.raises(UndeliveredResponseError):
        lambda_handler(record_of(errorType="X"), Context())


@pytest.mark.usefixtures("deliveries")
def test_the_record_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    lambda_handler(record_of(errorType="X"), Context())
    assert "responding to request request" in caplog.text
    assert "hunter2" not in caplog.text
    assert "open-sesame" not in caplog.text


def test_a_request_through_sns_gets_a_response(deliveries: Deliveries) -> None:
    notification = {"EventSource": "aws:sns", "Sns": {"Message": json.dumps(EVENT)}}
    record = record_of({"Records": [notification]}, errorType="Runtime.OutOfMemory")
    body = lambda_handler(record, Context())
    assert deliveries.bodies == [body]
    assert body is not None
    assert (body["StackId"], body["Status"]) == ("stack", "FAILED")
    assert "killed" in body["Reason"]


def test_a_response_is_counted_once_as_a_metric(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "images")
    lambda_handler(record_of(errorType="X"), Context())
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "EcrImageReplicator"
    assert directive["Dimensions"] == [["service"]]
    assert (line["service"], line["ResponderResponses"]) == ("images", 1)
    deliveries.accepts = False
    with pytest.raises(UndeliveredResponseError):
        lambda_handler(record_of(errorType="X"), Context())
    lambda_handler(record_of(None), Context())
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("deliveries")
def test_the_request_id_is_logged_as_one_printable_line(caplog: pytest.LogCaptureFixture) -> None:
    event = {**EVENT, "RequestId": "a\ud800\n\x1b[2J"}
    lambda_handler(record_of(event, errorType="X"), Context())
    assert r"responding to request a\ud800\n\x1b[2J: " in caplog.text
