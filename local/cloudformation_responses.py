"""A custom resource's response and the rules for it.

The rules are those of the AWS CloudFormation User Guide, "Custom resource response objects".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

RESPONSE_LIMIT_BYTES = 4096
PHYSICAL_RESOURCE_ID_LIMIT_BYTES = 1024

_KNOWN_KEYS = frozenset(
    {
        "Status",
        "Reason",
        "PhysicalResourceId",
        "StackId",
        "RequestId",
        "LogicalResourceId",
        "NoEcho",
        "Data",
    }
)


@dataclass(frozen=True, slots=True)
class Expectation:
    """The IDs that a response must return, or None for any value."""

    request_id: str
    stack_id: str | None
    logical_resource_id: str | None


@dataclass(frozen=True, slots=True)
class CustomResourceResponse:
    """One stored response: its bytes and their JSON object (empty if there is none).

    `violations` has a sentence for each violated rule. CloudFormation accepts only responses
    without violations.
    """

    request_id: str
    body: bytes
    document: Mapping[str, Any]
    violations: tuple[str, ...]

    @property
    def status(self) -> str:
        """SUCCESS or FAILED; "" when missing."""
        return str(self.document.get("Status", ""))

    @property
    def reason(self) -> str:
        """Why the request failed; "" when missing."""
        return str(self.document.get("Reason", ""))

    @property
    def physical_resource_id(self) -> str:
        """The physical resource ID; "" when missing."""
        return str(self.document.get("PhysicalResourceId", ""))

    @property
    def data(self) -> Mapping[str, Any]:
        """The values for `Fn::GetAtt`; empty when missing."""
        data = self.document.get("Data")
        return data if isinstance(data, dict) else {}


def read_response(body: bytes, expectation: Expectation) -> CustomResourceResponse:
    """Return a response with its violations. Invalid content raises no exception."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict):
        violations = tuple(_violations(body, document, expectation))
    else:
        document, violations = {}, ("the response is not a JSON object",)
    return CustomResourceResponse(expectation.request_id, body, document, violations)


def _violations(
    body: bytes, document: Mapping[str, Any], expectation: Expectation
) -> Iterator[str]:
    if len(body) > RESPONSE_LIMIT_BYTES:
        yield f"the response has {len(body)} bytes, {RESPONSE_LIMIT_BYTES} are allowed"
    status = document.get("Status")
    if status not in {"SUCCESS", "FAILED"}:
        yield f"Status is {status!r}, neither SUCCESS nor FAILED"
    reason = document.get("Reason")
    if status == "FAILED" and not (isinstance(reason, str) and reason):
        yield "Reason is required with FAILED"
    yield from _identity_violations(document, expectation)
    if not isinstance(document.get("Data", {}), dict):
        yield "Data is not an object"
    if not isinstance(document.get("NoEcho", False), bool):
        yield "NoEcho is not a Boolean"
    unknown = sorted(set(document) - _KNOWN_KEYS)
    if unknown:
        yield f"unknown: {', '.join(unknown)}"


def _identity_violations(document: Mapping[str, Any], expectation: Expectation) -> Iterator[str]:
    physical_id = document.get("PhysicalResourceId")
    if not isinstance(physical_id, str):
        yield "PhysicalResourceId is not a string"
    elif not 1 <= len(physical_id.encode()) <= PHYSICAL_RESOURCE_ID_LIMIT_BYTES:
        yield f"PhysicalResourceId has {len(physical_id.encode())} bytes, 1 to 1024 are allowed"
    echoes = {
        "RequestId": expectation.request_id,
        "StackId": expectation.stack_id,
        "LogicalResourceId": expectation.logical_resource_id,
    }
    for name, expected in echoes.items():
        given = document.get(name)
        if not isinstance(given, str) or not given:
            yield f"{name} is missing"
        elif expected is not None and given != expected:
            yield f"{name} is {given!r}, not the request's {expected!r}"
