"""Repositories and their settings (ECR API Reference, "CreateRepository")."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from local.ecr.errors import EcrError, invalid_parameter

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_MUTABILITIES = ("MUTABLE", "IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION")
_EXCLUSION_FILTER = re.compile(r"[0-9a-zA-Z._*-]{1,128}")
_EXCLUSION_FILTER_LIMIT = 5
_WILDCARD_LIMIT = 2
_TAG_LIMIT = 50

Mutability = Literal["MUTABLE", "IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"]


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository's settings; `created_at` in seconds since 1970."""

    name: str
    created_at: float
    mutability: Mutability = "MUTABLE"
    exclusion_filters: tuple[str, ...] = ()
    scan_on_push: bool = False
    encryption_type: str = "AES256"
    kms_key: str | None = None
    lifecycle_policy: str | None = None
    policy: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def encryption(self) -> tuple[str, str | None]:
        """The encryption settings, which must be equal in two repositories to mount a blob."""
        return self.encryption_type, self.kms_key

    def is_immutable(self, tag: str) -> bool:
        """Return whether a tag is immutable."""
        excluded = any(fnmatch.fnmatchcase(tag, each) for each in self.exclusion_filters)
        match self.mutability:
            case "IMMUTABLE":
                return True
            case "IMMUTABLE_WITH_EXCLUSION":
                return not excluded
            case "MUTABLE_WITH_EXCLUSION":
                return excluded
        return False

    def describe(self, account: str, arn: str, host: str) -> dict[str, Any]:
        """Return the Repository structure of the API."""
        encryption: dict[str, Any] = {"encryptionType": self.encryption_type}
        if self.kms_key is not None:
            encryption["kmsKey"] = self.kms_key
        described: dict[str, Any] = {
            "repositoryArn": arn,
            "registryId": account,
            "repositoryName": self.name,
            "repositoryUri": f"{host}/{self.name}",
            "createdAt": self.created_at,
            "imageTagMutability": self.mutability,
            "imageScanningConfiguration": {"scanOnPush": self.scan_on_push},
            "encryptionConfiguration": encryption,
        }
        if self.exclusion_filters:
            described["imageTagMutabilityExclusionFilters"] = [
                {"filterType": "WILDCARD", "filter": each} for each in self.exclusion_filters
            ]
        return described


def check_name(name: Any) -> str:
    """Return a valid repository name.

    Raises
    ------
    EcrError
        InvalidParameterException.
    """
    if not isinstance(name, str) or not 2 <= len(name) <= 256 or not _NAME.fullmatch(name):
        raise invalid_parameter("repositoryName", "must satisfy regular expression")
    return name


def parse_repository(parameters: Mapping[str, Any], *, account: str, now: float) -> Repository:
    """Return the repository for parameters of CreateRepository.

    Raises
    ------
    EcrError
        InvalidParameterException, InvalidTagParameterException, TooManyTagsException, KmsException.
    """
    encryption = parameters.get("encryptionConfiguration") or {"encryptionType": "AES256"}
    kind = encryption.get("encryptionType")
    key = encryption.get("kmsKey")
    if kind not in {"AES256", "KMS", "KMS_DSSE"} or (kind == "AES256" and key):
        raise invalid_parameter("encryptionConfiguration", "a KMS key requires KMS or KMS_DSSE")
    if kind != "AES256" and not key:
        key = f"arn:aws:kms:::{account}:alias/aws/ecr"
    scanning = parameters.get("imageScanningConfiguration") or {}
    return Repository(
        name=check_name(parameters.get("repositoryName")),
        created_at=now,
        mutability=_mutability(parameters),
        exclusion_filters=_exclusion_filters(parameters),
        scan_on_push=bool(scanning.get("scanOnPush", False)),
        encryption_type=kind,
        kms_key=key,
        tags=parse_tags(parameters.get("tags") or []),
    )


def parse_tags(tags: Any) -> dict[str, str]:
    """Return AWS tags as a dictionary.

    Raises
    ------
    EcrError
        InvalidTagParameterException, TooManyTagsException.
    """
    if len(tags) > _TAG_LIMIT:
        raise EcrError("TooManyTagsException", f"more than {_TAG_LIMIT} tags")
    parsed: dict[str, str] = {}
    for tag in tags:
        key, value = tag.get("Key"), tag.get("Value")
        if not isinstance(key, str) or not isinstance(value, str) or not 0 < len(key) <= 128:
            raise EcrError("InvalidTagParameterException", "a tag has a Key and a Value")
        if key.startswith("aws:") or key in parsed:
            raise EcrError("InvalidTagParameterException", f"the tag key '{key}' is not allowed")
        parsed[key] = value
    return parsed


def check_policy_text(name: str, text: Any, member: str) -> str:
    """Return a policy text after checking that it has a list of statements or rules.

    Raises
    ------
    EcrError
        InvalidParameterException.
    """
    try:
        document = json.loads(text)
    except (TypeError, ValueError) as error:
        raise invalid_parameter(name, "Invalid JSON syntax") from error
    if not isinstance(document, dict) or not document.get(member):
        raise invalid_parameter(name, f"a policy has {member}")
    return str(text)


def check_lifecycle_integers(text: str) -> None:
    """Check that the numbers of a lifecycle policy are integers, as its JSON schema requires.

    Raises
    ------
    EcrError
        InvalidParameterException.
    """
    for rule in json.loads(text)["rules"]:
        numbers = (rule.get("rulePriority"), rule.get("selection", {}).get("countNumber"))
        if any(isinstance(number, str) for number in numbers):
            raise invalid_parameter(
                "LifecyclePolicyText",
                "Lifecycle policy validation failure: instance type (string) does not match any "
                'allowed primitive type (allowed: ["integer"])',
            )


def _mutability(parameters: Mapping[str, Any]) -> Mutability:
    wanted: Any = parameters.get("imageTagMutability") or "MUTABLE"
    if wanted not in _MUTABILITIES:
        raise invalid_parameter("imageTagMutability", f"one of {', '.join(_MUTABILITIES)}")
    mutability: Mutability = wanted
    return mutability


def _exclusion_filters(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    filters = parameters.get("imageTagMutabilityExclusionFilters") or []
    with_exclusion = _mutability(parameters).endswith("_WITH_EXCLUSION")
    texts = tuple(str(each.get("filter", "")) for each in filters)
    well_formed = all(
        _EXCLUSION_FILTER.fullmatch(text) and text.count("*") <= _WILDCARD_LIMIT for text in texts
    )
    wildcards = all(each.get("filterType") == "WILDCARD" for each in filters)
    right_count = len(texts) <= _EXCLUSION_FILTER_LIMIT and bool(texts) == with_exclusion
    if not (well_formed and wildcards and right_count):
        raise invalid_parameter(
            "imageTagMutabilityExclusionFilters",
            "one to five wildcards, with a mutability that has exclusions",
        )
    return texts
