"""How a missing ECR repository is to be made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.request.properties import (
    read_boolean,
    read_choice,
    read_object,
    read_text,
    read_texts,
    refuse_unknown_keys,
    shown,
)

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
_WILDCARD: Final = re.compile(r"[0-9a-zA-Z._*-]{1,128}")


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """What CreateRepository asks for; the names of values are ECR's.

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
    """Read CreateRepository, a boolean or a map; None when nothing is to be made.

    Raises
    ------
    RequestError
        The sentence names the key and quotes its value.
    """
    name = "CreateRepository"
    value = properties.get(name)
    if (
        value is None
        or isinstance(value, bool)
        or str(value).strip().lower() in {"true", "false", ""}
    ):
        return RepositorySettings() if read_boolean(properties, name) else None
    values = read_object(properties, name)
    refuse_unknown_keys(values, name, _REPOSITORY_KEYS)
    kms_key = read_text(values, "KmsKey") or ""
    encryption_type = read_choice(
        values, "EncryptionType", ("AES256", "KMS", "KMS_DSSE"), "KMS" if kms_key else "AES256"
    )
    if kms_key and encryption_type == "AES256":
        raise RequestError(f"{name} has a KmsKey, which EncryptionType AES256 does not use")
    mutability = read_choice(values, "ImageTagMutability", _MUTABILITIES, "MUTABLE")
    return RepositorySettings(
        mutability,
        read_boolean(values, "ScanOnPush"),
        encryption_type,
        kms_key,
        _json_text(values, "LifecyclePolicy"),
        _json_text(values, "RepositoryPolicy"),
        _parse_resource_tags(values),
        _parse_exclusions(values, mutability),
    )


def _parse_exclusions(values: Mapping[str, Any], mutability: str) -> tuple[str, ...]:
    """Read the wildcards of tags that the mutability is turned round for."""
    key = "ImageTagMutabilityExclusionFilters"
    wildcards = tuple(read_texts(values, key))
    if bool(wildcards) is not mutability.endswith("_WITH_EXCLUSION"):
        raise RequestError(
            f"CreateRepository has the ImageTagMutability {mutability} and {len(wildcards)} "
            f"{key}; they go together with IMMUTABLE_WITH_EXCLUSION or MUTABLE_WITH_EXCLUSION"
        )
    for wildcard in wildcards:
        if not _WILDCARD.fullmatch(wildcard):
            raise RequestError(
                f"CreateRepository.{key} has {shown(wildcard)}; a wildcard is 1 to 128 letters, "
                "digits, '.', '_', '-' and '*'"
            )
    return wildcards


def _json_text(values: Mapping[str, Any], key: str) -> str:
    """Read a policy, a map or JSON text, as JSON text."""
    policy = read_object(values, key)
    return json.dumps(policy) if policy else ""


def _parse_resource_tags(values: Mapping[str, Any]) -> dict[str, str]:
    """Read tags as a map, or as CloudFormation's list of Key and Value."""
    tags = values.get("Tags")
    if isinstance(tags, list):
        if not all(isinstance(each, dict) and {*each} == {"Key", "Value"} for each in tags):
            raise RequestError(
                f"CreateRepository.Tags {shown(tags)} is not a list of Key and Value"
            )
        return {str(each["Key"]): str(each["Value"]) for each in tags}
    return {key: str(value) for key, value in read_object(values, "Tags").items()}
