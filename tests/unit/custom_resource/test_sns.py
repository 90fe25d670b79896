from __future__ import annotations

import json
from typing import Any

import pytest

from custom_resource.sns import is_notification, unwrap

REQUEST = {"RequestType": "Create", "StackId": "stack", "ResourceProperties": {"SrcImage": "a"}}


def notification_of(message: object, **more: Any) -> dict[str, Any]:
    """An event as SNS sends it to a function (AWS Lambda Developer Guide)."""
    return {
        "Records": [
            {
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "EventSubscriptionArn": "arn:aws:sns:eu-west-1:123456789012:images:21be56ed",
                "Sns": {
                    "Type": "Notification",
                    "MessageId": "95df01b4-ee98-5cb9-9903-4c221d41eb5e",
                    "TopicArn": "arn:aws:sns:eu-west-1:123456789012:images",
                    "Subject": "AWS CloudFormation custom resource request",
                    "Message": message,
                    "Timestamp": "2026-01-01T12:45:07.000Z",
                    "MessageAttributes": {},
                },
                **more,
            }
        ]
    }


def test_a_request_without_sns_is_returned_unchanged() -> None:
    assert unwrap(REQUEST) is REQUEST
    assert not is_notification(REQUEST)


def test_a_request_is_extracted_from_a_notification() -> None:
    event = notification_of(json.dumps(REQUEST))
    assert is_notification(event)
    assert unwrap(event) == REQUEST


def test_a_continuation_received_through_sns_is_removed() -> None:
    forged = {**REQUEST, "Continuation": {"Invocation": 2}}
    assert unwrap(notification_of(json.dumps(forged))) == REQUEST
    assert unwrap(forged) is forged


@pytest.mark.parametrize("message", ["not JSON", "[]", "[" * 200_000, 7, None])
def test_a_notification_without_a_request_is_an_empty_request(message: object) -> None:
    event = notification_of(message)
    assert is_notification(event)
    assert unwrap(event) == {}


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"Records": []},
        {"Records": "text"},
        {"Records": ["text"]},
        notification_of(json.dumps(REQUEST), EventSource="aws:s3"),
        {"Records": notification_of(json.dumps(REQUEST))["Records"] * 2},
    ],
)
def test_any_other_event_is_returned_unchanged(event: dict[str, Any]) -> None:
    assert unwrap(event) is event
    assert not is_notification(event)
