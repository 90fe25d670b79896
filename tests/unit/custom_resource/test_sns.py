from __future__ import annotations

import json
from typing import Any

import pytest

from custom_resource.sns import request_of

REQUEST = {"RequestType": "Create", "StackId": "stack", "ResourceProperties": {"SrcImage": "a"}}


def notification_of(message: object, **more: Any) -> dict[str, Any]:
    """As SNS gives it to a function (AWS Lambda developer guide)."""
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


def test_a_request_that_comes_by_itself_is_the_request() -> None:
    assert request_of(REQUEST) is REQUEST


def test_a_request_is_taken_out_of_a_notification() -> None:
    assert request_of(notification_of(json.dumps(REQUEST))) == REQUEST


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"Records": []},
        {"Records": "text"},
        {"Records": ["text"]},
        {"Records": [{"EventSource": "aws:sns"}]},
        {"Records": [{"EventSource": "aws:sns", "Sns": "text"}]},
        notification_of(json.dumps(REQUEST), EventSource="aws:s3"),
        notification_of("not JSON"),
        notification_of("[]"),
        notification_of("[" * 200_000),
        notification_of(7),
        {"Records": notification_of(json.dumps(REQUEST))["Records"] * 2},
    ],
)
def test_what_is_no_notification_of_one_request_is_left_as_it_is(event: dict[str, Any]) -> None:
    assert request_of(event) is event
