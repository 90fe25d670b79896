"""CloudFormation requests received through an SNS topic.

A stack whose ServiceToken is a topic's ARN publishes its request to the topic, and SNS invokes the
function with a notification whose message is that request.
"""

from __future__ import annotations

import json
from typing import Any, Final

#: A field that only the function itself may set, beside CloudFormation's own.
CONTINUATION_KEY: Final = "Continuation"


def is_notification(event: dict[str, Any]) -> bool:
    """Return whether an event is an SNS notification.

    AWS Lambda Developer Guide, "Invoking Lambda functions with Amazon SNS notifications".
    """
    return _record(event) is not None


def unwrap(event: dict[str, Any]) -> dict[str, Any]:
    """Return the request inside an SNS notification; any other event is returned unchanged.

    A notification whose message is not a JSON object gives an empty request. The field that
    continues work in another invocation is removed: whoever may publish to the topic could set it.
    """
    record = _record(event)
    if record is None:
        return event
    notification = record.get("Sns")
    text = notification.get("Message") if isinstance(notification, dict) else None
    try:
        request = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        return {}
    request.pop(CONTINUATION_KEY, None)
    return request


def _record(event: dict[str, Any]) -> dict[str, Any] | None:
    records = event.get("Records")
    # SNS sends one record in each event
    record = records[0] if isinstance(records, list) and len(records) == 1 else None
    if isinstance(record, dict) and record.get("EventSource") == "aws:sns":
        return record
    return None
