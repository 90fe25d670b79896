"""The settings of an ECR repository that is created because it is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ecr_image_replicator.errors import Setting
from ecr_image_replicator.request.properties import (
    Key,
    find_value,
    invalid,
    quote,
    read_boolean,
    read_choice,
    read_object,
    read_text,
    read_texts,
    reject_unknown_keys,
)

_SETTING: Final = Setting.CREATE_REPOSITORY
_MUTABILITIES: Final = (
    "MUTABLE",
    "IMMUTABLE",
    "IMMUTABLE_WITH_EXCLUSION",
    "MUTABLE_WITH_EXCLUSION",
)
_REPOSITORY_KEYS: Final = (
    "ImageTagMutability",
    "ImageTagMutabilityExclusionFilters",
    "ScanOnPush",
    "EncryptionType",
    "KmsKey",
    "LifecyclePolicy",
    "RepositoryPolicy",
    "Tags",
)
#: Amazon ECR API reference, ImageTagMutabilityExclusionFilter.
_WILDCARD: Final = r"[0-9a-zA-Z._*-]{1,128}"
#: Amazon ECR User Guide, "Lifecycle policy parameters": the integers.
_LIFECYCLE_INTEGERS: Final = frozenset({"rulePriority", "countNumber"})


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """The parsed value of CreateRepository; the values have ECR's names.

    Attributes
    ----------
    image_tag_mutability
        MUTABLE, IMMUTABLE, IMMUTABLE_WITH_EXCLUSION or MUTABLE_WITH_EXCLUSION.
    mutability_exclusions
        Wildcards of tags, for the last two.
    encryption_type
        AES256, KMS or KMS_DSSE.
    kms_key
        A key's ARN or alias, "" for ECR's own.
    lifecycle_policy, repository_policy
        JSON text, "" for none.
    """

    image_tag_mutability: str = "MUTABLE"
    scan_on_push: bool = False
    encryption_type: str = "AES256"
    kms_key: str = ""
    lifecycle_policy: str = ""
    repository_policy: str = ""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    mutability_exclusions: tuple[str, ...] = ()


def parse_repository_settings(properties: Mapping[str, Any]) -> RepositorySettings | None:
    """Parse CreateRepository, a boolean or a map; return None when no repository is created.

    Raises
    ------
    RequestError
        The message names the key and quotes its value.
    """
    value = find_value(properties, _SETTING)
    text = value.strip().lower() if isinstance(value, str) else None
    if value is None or text in {"", "null"}:
        return None
    if isinstance(value, bool) or text in {"true", "false"}:
        return RepositorySettings() if read_boolean(properties, _SETTING) else None
    values = read_object(properties, _SETTING)
    reject_unknown_keys(values, _SETTING, _REPOSITORY_KEYS)
    kms_key = read_text(values, _key("KmsKey")) or ""
    encryption_type = read_choice(
        values,
        _key("EncryptionType"),
        ("AES256", "KMS", "KMS_DSSE"),
        "KMS" if kms_key else "AES256",
    )
    if kms_key and encryption_type == "AES256":
        raise invalid(
            _key("KmsKey"), "it cannot be combined with EncryptionType AES256", hint="Use KMS."
        )
    mutability = read_choice(values, _key("ImageTagMutability"), _MUTABILITIES, "MUTABLE")
    return RepositorySettings(
        mutability,
        read_boolean(values, _key("ScanOnPush")),
        encryption_type,
        kms_key,
        _with_integers(_json_text(values, "LifecyclePolicy")),
        _json_text(values, "RepositoryPolicy"),
        _parse_resource_tags(values),
        _parse_exclusions(values, mutability),
    )


def _key(name: str) -> Key:
    return Key(_SETTING, name)


def _parse_exclusions(values: Mapping[str, Any], mutability: str) -> tuple[str, ...]:
    """Return the wildcards of the tags that are excluded from the mutability."""
    key = _key("ImageTagMutabilityExclusionFilters")
    wildcards = tuple(read_texts(values, key))
    if bool(wildcards) is not mutability.endswith("_WITH_EXCLUSION"):
        raise invalid(
            key,
            f"{len(wildcards)} filters with ImageTagMutability {mutability}",
            hint="Use filters together with IMMUTABLE_WITH_EXCLUSION or MUTABLE_WITH_EXCLUSION.",
        )
    for wildcard in wildcards:
        if not re.fullmatch(_WILDCARD, wildcard):
            raise invalid(
                key,
                f"{quote(wildcard)} is not a wildcard",
                hint="A wildcard has 1 to 128 letters, digits, '.', '_', '-' and '*'.",
            )
    return wildcards


def _json_text(values: Mapping[str, Any], name: str) -> str:
    """Return a policy, delivered as a map or as JSON, as JSON."""
    policy = read_object(values, _key(name))
    return json.dumps(policy) if policy else ""


def _with_integers(lifecycle_policy: str) -> str:
    """Return a lifecycle policy with the numbers that CloudFormation delivers as strings."""

    def restore(values: dict[str, Any]) -> dict[str, Any]:
        return {
            name: int(value)
            if name in _LIFECYCLE_INTEGERS and re.fullmatch("[0-9]{1,9}", str(value))
            else value
            for name, value in values.items()
        }

    if not lifecycle_policy:
        return ""
    return json.dumps(json.loads(lifecycle_policy, object_hook=restore))


def _parse_resource_tags(values: Mapping[str, Any]) -> dict[str, str]:
    """Return tags, delivered as a map or as CloudFormation's list of Key and Value."""
    tags = values.get("Tags")
    if isinstance(tags, list):
        if not all(isinstance(each, dict) and {*each} == {"Key", "Value"} for each in tags):
            raise invalid(_key("Tags"), f"{quote(tags)} is not a list of Key and Value")
        return {str(each["Key"]): str(each["Value"]) for each in tags}
    return {key: str(value) for key, value in read_object(values, _key("Tags")).items()}
