"""Asynchronous invocation of the function by itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.aws.clients import AwsCaller, AwsClients, AwsEndpoint, Identity
from ecr_image_replicator.aws.operations import Operation
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import Side
from ecr_image_replicator.retries import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

_ATTEMPTS: Final = 3
#: arn:partition:lambda:region:account:function:name:version
_QUALIFIED_PARTS: Final = 8
_FUNCTION: Final = re.compile(r"arn:aws[a-z-]*:lambda:([a-z0-9-]+):[0-9]{12}:function:\S+")


def is_function_arn(text: object) -> bool:
    """Return whether a text is the ARN of a function; a local run has none."""
    return isinstance(text, str) and _FUNCTION.fullmatch(text) is not None


def unqualified_arn(function_arn: str) -> str:
    """Return a function's ARN without a version or alias.

    The on-failure destination and the permission to invoke itself are those of ``$LATEST``.
    """
    parts = function_arn.split(":")
    is_qualified = is_function_arn(function_arn) and len(parts) == _QUALIFIED_PARTS
    return ":".join(parts[:-1]) if is_qualified else function_arn


def invoke_later(function_arn: str, event: Mapping[str, Any], budget_seconds: float) -> None:
    """Invoke a function asynchronously (Lambda API, Invoke with InvocationType Event).

    Parameters
    ----------
    function_arn
        As the context of an invocation has it.
    budget_seconds
        The time limit for all attempts.

    Raises
    ------
    AwsError
        Lambda rejected the event or cannot be reached.
    OutOfTimeError
        The time limit has passed.
    """
    match = _FUNCTION.fullmatch(function_arn)
    caller = AwsCaller(
        AwsClients(),
        Identity(None, Side.SOURCE),
        deadline=Deadline(budget_seconds),
        retry_policy=RetryPolicy(_ATTEMPTS),
    )
    parameters = {
        "FunctionName": function_arn,
        "InvocationType": "Event",
        "Payload": json.dumps(event).encode(),
    }
    caller.call(Operation.INVOKE_ITSELF, parameters, AwsEndpoint(match[1] if match else ""))
