"""CloudFormation's request, out of what brought it.

A stack whose ServiceToken is the function's ARN sends the request itself. One whose ServiceToken is
an SNS topic publishes it there, and SNS brings a notification with the request as its text.
"""

from __future__ import annotations

import json
from typing import Any


def request_of(event: dict[str, Any]) -> dict[str, Any]:
    """Give the request in a notification of SNS; everything else is given as it is.

    AWS Lambda developer guide, "Invoking Lambda functions with Amazon SNS notifications": an event
    has one record.
    """
    records = event.get("Records")
    record = records[0] if isinstance(records, list) and len(records) == 1 else None
    if not isinstance(record, dict) or record.get("EventSource") != "aws:sns":
        return event
    notification = record.get("Sns")
    text = notification.get("Message") if isinstance(notification, dict) else None
    try:
        request = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return event
    return request if isinstance(request, dict) else event
