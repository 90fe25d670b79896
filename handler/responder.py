"""The failure responder: answers for an invocation of the replicator that could not.

Lambda gives it the record of an asynchronous invocation that failed for good: the function was
stopped at its timeout, killed for want of memory, crashed, or was never run. Everything else the
replicator answers itself. A stack that has heard of it already, from an invocation that was killed
after its answer, passes a second answer over.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from custom_resource.response import CustomResourceResponse, deliver, failed_physical_id
from custom_resource.sns import request_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOGGER: Final = logging.getLogger(__name__)
_LOGGER.setLevel(logging.INFO)
#: Kept of Lambda's time for coming to an end.
_RESERVE_SECONDS: Final = 1.0
_NAMES: Final = ("ResponseURL", "StackId", "RequestId", "LogicalResourceId")


class UndeliveredAnswerError(Exception):
    """CloudFormation did not take the answer; Lambda runs the responder again."""


def lambda_handler(record: dict[str, Any], context: Any) -> dict[str, Any] | None:
    """Respond FAILED for the request in an invocation's record; None when there is none.

    AWS Lambda developer guide, "Capturing records of Lambda asynchronous invocations".

    Raises
    ------
    UndeliveredAnswerError
        Trying again later may help.
    """
    payload = record.get("requestPayload")
    event = request_of(payload) if isinstance(payload, dict) else None
    if event is None or not all(isinstance(event.get(n), str) for n in _NAMES):
        _LOGGER.warning("the record is not of a request of CloudFormation's; nobody is answered")
        return None
    if not event["ResponseURL"].startswith("https://"):
        _LOGGER.warning("the request %s names nobody to be answered", event["RequestId"])
        return None
    answer = CustomResourceResponse(
        status="FAILED",
        physical_resource_id=failed_physical_id(event),
        stack_id=event["StackId"],
        request_id=event["RequestId"],
        logical_resource_id=event["LogicalResourceId"],
        reason=_reason(record),
    ).body()
    _LOGGER.error("answering for the request %s: %s", event["RequestId"], answer["Reason"])
    budget_seconds = context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS
    if not deliver(event["ResponseURL"], answer, budget_seconds=budget_seconds):
        raise UndeliveredAnswerError("CloudFormation did not take the answer")
    return answer


def _reason(record: Mapping[str, Any]) -> str:
    """Say what became of the invocation; of the words of others only what is known is repeated."""
    context = _mapping(record, "requestContext")
    payload = _mapping(record, "responsePayload")
    kind, message = _text(payload, "errorType"), _text(payload, "errorMessage")
    if _text(context, "condition") == "EventAgeExceeded":
        found = "was not run in time; look at the function's reserved concurrency and throttles"
    elif "timed out" in message or kind == "Sandbox.Timedout":
        found = "was stopped at its timeout; raise it, or give the function more memory"
    elif "signal: killed" in message or kind == "Runtime.OutOfMemory":
        found = "was killed, most likely for want of memory; give the function more"
    else:
        found = f"ended before it could answer ({_word(kind) or 'no reason is known'})"
    function, request = _word(_text(context, "functionArn")), _word(_text(context, "requestId"))
    return (
        f"the replicator {found}; deploy again, as what has been copied is not copied twice; see "
        f"the log of {function or 'the function'} for its request {request or 'of that time'}"
    )


def _mapping(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _word(text: str) -> str:
    """Give a name as long as it is nothing but a name."""
    return text if len(text) <= 200 and text.isascii() and text.isprintable() else ""
