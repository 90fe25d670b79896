"""An evaluator of IAM identity policies.

IAM User Guide, "Policy evaluation logic": an explicit Deny wins, an Allow is required, everything
else is denied. Supports the elements in the project's templates. Others are errors, so
that no test passes because of an ignored statement.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

_ASSUMED_ROLE = re.compile(r"arn:(aws[a-z-]*):sts::(\d{12}):assumed-role/([^/]+)/.+")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/(?:.+/)?([^/]+)")
_STATEMENT_KEYS = frozenset(
    {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)


class Decision(Enum):
    """The result of evaluating policies."""

    ALLOWED = "allowed"
    NOT_ALLOWED = "no statement allows it"
    DENIED = "a statement denies it"


@dataclass(frozen=True, slots=True)
class Permission:
    """A permission that a request requires: an action on a resource, in a context.

    `context` has condition keys with their values, `kms:ViaService` for example.
    """

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


class UnsupportedPolicyError(ValueError):
    """A policy has an unsupported element or operator."""


def evaluate(policies: Sequence[Mapping[str, Any]], permission: Permission) -> Decision:
    """Return the decision of policy documents, with resolved variables, on a permission.

    Raises
    ------
    UnsupportedPolicyError
        A document has an unsupported element.
    """
    effects = {
        statement["Effect"]
        for policy in policies
        for statement in _as_list(policy["Statement"])
        if _applies(statement, permission)
    }
    if "Deny" in effects:
        return Decision.DENIED
    return Decision.ALLOWED if "Allow" in effects else Decision.NOT_ALLOWED


class IdentityPolicies:
    """The policies of roles. A principal without an entry is an administrator.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._policies: dict[tuple[str, str], Sequence[Mapping[str, Any]]] = {}
        self._contexts: dict[tuple[str, str], Mapping[str, str]] = {}
        self._lock = threading.Lock()

    def attach(
        self,
        role_arn: str,
        policies: Sequence[Mapping[str, Any]],
        context: Mapping[str, str] | None = None,
    ) -> None:
        """Replace the policies of a role.

        `context` has the condition keys of all requests of the role, such as
        `lambda:SourceFunctionArn`.

        Raises
        ------
        UnsupportedPolicyError
            A document has an unsupported element.
        """
        for policy in policies:
            for statement in _as_list(policy["Statement"]):
                _check(statement)
        name = _role_name(role_arn)
        with self._lock:
            self._policies[name] = tuple(policies)
            self._contexts[name] = dict(context or {})

    def decide(self, principal_arn: str, permission: Permission) -> Decision:
        """Return whether a principal's policies grant a permission."""
        name = _role_name(principal_arn)
        with self._lock:
            policies = self._policies.get(name)
            context = self._contexts.get(name, {})
        if policies is None:
            return Decision.ALLOWED
        whole = {**context, **permission.context}
        return evaluate(policies, Permission(permission.action, permission.resource, whole))


def _role_name(arn: str) -> tuple[str, str]:
    """Return the account and name of a role, from its ARN or a session's."""
    session = _ASSUMED_ROLE.fullmatch(arn)
    if session:
        return session[2], session[3]
    role = _ROLE.fullmatch(arn)
    return (role[1], role[2]) if role else ("", arn)


def _check(statement: Mapping[str, Any]) -> None:
    unknown = statement.keys() - _STATEMENT_KEYS
    if unknown or statement.get("Effect") not in {"Allow", "Deny"}:
        raise UnsupportedPolicyError(f"unsupported statement: {sorted(unknown) or statement}")
    for kind in ("Action", "Resource"):
        if (kind in statement) is (f"Not{kind}" in statement):
            raise UnsupportedPolicyError(f"a statement has either {kind} or Not{kind}")
    for operator in statement.get("Condition", {}):
        _test_of(operator)


def _applies(statement: Mapping[str, Any], permission: Permission) -> bool:
    _check(statement)
    return (
        # actions are case-insensitive, resources case-sensitive
        _names(statement, "Action", permission.action, flags=re.IGNORECASE)
        and _names(statement, "Resource", permission.resource)
        and all(
            _is_met(operator, key, values, permission.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _names(statement: Mapping[str, Any], kind: str, value: str, *, flags: int = 0) -> bool:
    is_negated = kind not in statement
    patterns = _as_list(statement[f"Not{kind}" if is_negated else kind])
    return any(_is_like(each, value, flags) for each in patterns) is not is_negated


def _is_met(operator: str, key: str, values: Any, context: Mapping[str, str]) -> bool:
    """Return whether a condition is true: for one of its values, or for none with a negation."""
    test, is_negated, is_optional = _test_of(operator)
    lowered = {name.lower(): value for name, value in context.items()}
    found = lowered.get(key.lower())
    if operator == "Null":
        return any(str(each).lower() == str(found is None).lower() for each in _as_list(values))
    if found is None:
        return is_negated or is_optional
    return any(test(str(each), found) for each in _as_list(values)) is not is_negated


def _test_of(operator: str) -> tuple[Callable[[str, str], bool], bool, bool]:
    """Return an operator's comparison, whether it is negated, and whether a key may be absent."""
    name = operator.removesuffix("IfExists")
    positive = name.replace("Not", "", 1)
    tests: dict[str, Callable[[str, str], bool]] = {
        "StringEquals": lambda expected, value: expected == value,
        "StringEqualsIgnoreCase": lambda expected, value: expected.lower() == value.lower(),
        "StringLike": _is_like,
        # IAM User Guide: ArnEquals and ArnLike behave identically
        "ArnEquals": _is_arn_like,
        "ArnLike": _is_arn_like,
        "Bool": lambda expected, value: expected.lower() == value.lower(),
        "Null": lambda expected, value: expected == value,
    }
    if positive not in tests:
        raise UnsupportedPolicyError(f"unsupported condition operator {operator}")
    return tests[positive], name != positive, operator != name


def _is_like(pattern: str, value: str, flags: int = 0) -> bool:
    if "${" in pattern:
        raise UnsupportedPolicyError(f"unsupported policy variable in {pattern}")
    expression = "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in pattern)
    return re.fullmatch(expression, value, flags | re.DOTALL) is not None


def _is_arn_like(pattern: str, value: str) -> bool:
    """Compare ARNs part by part: a wildcard does not match a colon, except in the last part."""
    patterns, values = pattern.split(":", 5), value.split(":", 5)
    return len(patterns) == len(values) and all(map(_is_like, patterns, values))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
