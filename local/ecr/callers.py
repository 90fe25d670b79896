"""Principals and repository policies."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_CREDENTIAL = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<key>[^/,\s]+)/\d{8}/(?P<region>[a-z0-9-]+)"
    r"/(?P<service>[a-z0-9-]+)/aws4_request\b"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal: its account and ARN."""

    account: str
    arn: str


CallerLookup = Callable[[str], Caller | None]
"""Returns the principal of an access key ID, None for an unknown one."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The fields of a Signature Version 4 header, unverified."""

    access_key_id: str
    region: str
    service: str


def parse_signature(authorization: str | None) -> Signature | None:
    """Return the signature of a request, None if it is unsigned."""
    match = _CREDENTIAL.match(authorization or "")
    if match is None:
        return None
    return Signature(match["key"], match["region"], match["service"])


def policy_allows(policy_text: str | None, caller: Caller, action: str) -> bool:
    """Return whether a repository policy allows an action.

    Evaluates Effect, Principal and Action, and ignores conditions. An explicit Deny wins.
    """
    statements = _as_list(json.loads(policy_text).get("Statement", [])) if policy_text else []
    effects = {
        str(statement.get("Effect"))
        for statement in statements
        if _names_caller(statement.get("Principal"), caller)
        and any(fnmatch.fnmatchcase(action, each) for each in _as_list(statement.get("Action")))
    }
    return effects == {"Allow"}


def _names_caller(principal: Any, caller: Caller) -> bool:
    named = principal.get("AWS", []) if isinstance(principal, dict) else principal
    roots = {"*", caller.account, caller.arn, f"arn:aws:iam::{caller.account}:root"}
    session = re.fullmatch(r"arn:(aws[a-z-]*):sts::(\d{12}):assumed-role/([^/]+)/.+", caller.arn)
    if session:
        roots.add(f"arn:{session[1]}:iam::{session[2]}:role/{session[3]}")
    return any(each in roots for each in _as_list(named))


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
