"""The fields of CloudFormation's events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELDS: Final = ("RequestType", "ResponseURL", "StackId", "RequestId", "LogicalResourceId")


def complete_event(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Add the fields that an event written by hand lacks; remove crhelper's own."""
    complete = {
        "RequestType": "Create",
        "ResponseURL": "",
        "StackId": "local-invocation",
        "RequestId": context.aws_request_id,
        "LogicalResourceId": "LocalInvocation",
        **{name: value for name, value in event.items() if not name.startswith("CrHelper")},
    }
    for name in _FIELDS:
        complete[name] = str(complete[name])
    properties = complete.get("ResourceProperties")
    complete["ResourceProperties"] = properties if isinstance(properties, dict) else {}
    return complete
