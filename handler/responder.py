"""The failure responder: responds to CloudFormation for an invocation that could not.

Lambda invokes it with the record of an asynchronous invocation of the replicator that failed for
good: the function timed out, ran out of memory, crashed, was never started, or could not deliver
its response. If the stack already has a response, CloudFormation ignores the second one.

EventBridge invokes it as well, when a mirror's run was stopped, failed or timed out.
"""

from __future__ import annotations

import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any, Final

from custom_resource.response import (
    CustomResourceResponse,
    UndeliveredResponseError,
    allowed_hosts,
    deliver,
    failed_physical_id,
    is_allowed_url,
    is_https,
)
from custom_resource.sns import unwrap
from custom_resource.stopped_runs import find_pending_request, is_status_change

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOGGER: Final = logging.getLogger(__name__)
_LOGGER.setLevel(logging.INFO)
#: Reserved for the end of the invocation.
_RESERVE_SECONDS: Final = 1.0
_FIELDS: Final = ("ResponseURL", "StackId", "RequestId", "LogicalResourceId")
#: Why Lambda did not run the function, by the condition in the record.
_NOT_RUN: Final = {
    "EventAgeExceeded": (
        "Lambda did not run the function within an hour. Check the function's "
        "throttles and its reserved concurrency."
    ),
    "ZeroReservedConcurrency": (
        "the function's reserved concurrency is 0. Remove it or set it to 1 or more."
    ),
    "RecursiveInvocation": (
        "Lambda detected a recursive loop. Increase Timeout or MemorySize of the "
        "function, so that one copy needs fewer invocations."
    ),
}


def lambda_handler(record: dict[str, Any], context: Any) -> dict[str, Any] | None:
    """Respond FAILED to the request of a record or of a mirror's run; None when there is none.

    AWS Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations".

    Raises
    ------
    UndeliveredResponseError
        CloudFormation did not accept the response. Lambda runs the responder again.
    """
    if is_status_change(record):
        pending = find_pending_request(record)
        if pending is None:
            _LOGGER.info("no mirror's run waits for a response")
            return None
        event, physical_id, reason = pending
    else:
        payload = record.get("requestPayload")
        event = unwrap(payload) if isinstance(payload, dict) else {}
        physical_id, reason = "", _reason(record)
    if not all(isinstance(event.get(name), str) for name in _FIELDS):
        _LOGGER.warning("no CloudFormation request in the record: nothing to respond to")
        return None
    return _respond(event, physical_id or failed_physical_id(event), reason, context)


def _respond(
    event: Mapping[str, Any], physical_id: str, reason: str, context: Any
) -> dict[str, Any] | None:
    request_id = _printable(event["RequestId"])
    url = event["ResponseURL"]
    if not is_https(url) or not is_allowed_url(url, allowed_hosts()):
        _LOGGER.warning("request %s: its ResponseURL is not CloudFormation's", request_id)
        return None
    response = CustomResourceResponse(
        status="FAILED",
        physical_resource_id=physical_id,
        stack_id=event["StackId"],
        request_id=event["RequestId"],
        logical_resource_id=event["LogicalResourceId"],
        reason=reason,
    ).body()
    _LOGGER.error("responding to request %s: %s", request_id, response["Reason"])
    budget_seconds = context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS
    if not deliver(url, response, budget_seconds=budget_seconds):
        raise UndeliveredResponseError
    _print_metric(request_id)
    return response


def _reason(record: Mapping[str, Any]) -> str:
    """Return why the invocation failed; only known terms and plain names are quoted."""
    context = _mapping(record, "requestContext")
    payload = _mapping(record, "responsePayload")
    condition = _text(context, "condition")
    kind, message = _text(payload, "errorType"), _text(payload, "errorMessage")
    if condition in _NOT_RUN:
        found = _NOT_RUN[condition]
    elif condition not in {"RetriesExhausted", ""}:
        named = _name(condition) or "an unknown condition"
        found = f"Lambda did not run the function and reports {named}."
    elif "timed out" in message or kind == "Sandbox.Timedout":
        found = "the function timed out. Increase Timeout or MemorySize of the function."
    elif "signal: killed" in message or kind == "Runtime.OutOfMemory":
        found = (
            "the function was killed, probably out of memory. Increase MemorySize of the function."
        )
    elif kind == UndeliveredResponseError.__name__:
        found = "the function could not deliver its response. Check its network."
    else:
        found = f"the function ended without a response ({_name(kind) or 'no error type'})."
    function, request = _name(_text(context, "functionArn")), _name(_text(context, "requestId"))
    return (
        f"replication failed: {found} Deploy again: copied blobs are reused. "
        f"Log: {function or 'the function'}, request {request or 'unknown'}"
    )


def _print_metric(request_id: str) -> None:
    """Print the metric in CloudWatch's embedded metric format."""
    directive = {
        "Namespace": "EcrImageReplicator",
        "Dimensions": [["service"]],
        "Metrics": [{"Name": "ResponderResponses", "Unit": "Count"}],
    }
    line = {
        "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]},
        "message": "responder metrics",
        "service": os.environ.get("POWERTOOLS_SERVICE_NAME", "ecr-image-replicator"),
        "request_id": request_id,
        "ResponderResponses": 1,
    }
    print(json.dumps(line), flush=True)


def _mapping(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _printable(text: str) -> str:
    """Escape what a log cannot encode, and what a log or a terminal may interpret."""
    return text.encode("unicode_escape").decode()


def _name(text: str) -> str:
    """Return a text if it is a plain name, else ""."""
    return text if len(text) <= 200 and text.isascii() and text.isprintable() else ""
