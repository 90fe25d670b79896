"""Authorization tokens and account settings (ECR API Reference)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.ecr.callers import Caller
from local.ecr.errors import EcrError, invalid_parameter
from local.ecr.hosts import registry_host
from local.ecr.registry import EcrRegistry
from local.ecr.tokens import AuthorizationTokens

_VALUES = {
    "BASIC_SCAN_TYPE_VERSION": {"AWS_NATIVE", "CLAIR"},
    "BLOB_MOUNTING": {"ENABLED", "DISABLED"},
    "REGISTRY_POLICY_SCOPE": {"V1", "V2"},
}


def get_authorization_token(
    registry: EcrRegistry,
    parameters: Mapping[str, Any],
    caller: Caller,
    tokens: AuthorizationTokens,
) -> dict[str, Any]:
    """Return a token for every registry of the region that the caller has access to."""
    accounts = parameters.get("registryIds") or [caller.account]
    issued = tokens.issue(caller, registry.region)
    return {
        "authorizationData": [
            {
                "authorizationToken": issued.authorization_token,
                "expiresAt": issued.expires_at,
                "proxyEndpoint": f"https://{registry_host(account, registry.region)}",
            }
            for account in accounts
        ]
    }


def get_account_setting(registry: EcrRegistry, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a setting's value."""
    name = _setting(parameters)
    return {"name": name, "value": registry.account_settings[name]}


def put_account_setting(registry: EcrRegistry, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Change a setting."""
    name, value = _setting(parameters), parameters.get("value")
    if value not in _VALUES[name]:
        raise invalid_parameter("value", f"one of {', '.join(sorted(_VALUES[name]))}")
    registry.account_settings[name] = value
    return {"name": name, "value": value}


def _setting(parameters: Mapping[str, Any]) -> str:
    name = parameters.get("name")
    if name not in _VALUES:
        raise EcrError("ValidationException", f"there is no account setting '{name}'")
    return str(name)
