"""Operations on repositories (ECR API Reference)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.ecr.errors import invalid_parameter
from local.ecr.pages import page
from local.ecr.registry import EcrRegistry
from local.ecr.repositories import (
    Repository,
    check_lifecycle_integers,
    check_policy_text,
    parse_tags,
)


def create_repository(registry: EcrRegistry, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Create a repository."""
    settings = {name: value for name, value in parameters.items() if name != "registryId"}
    name = str(settings.pop("repositoryName", ""))
    return {"repository": _described(registry, registry.create_repository(name, **settings))}


def describe_repositories(registry: EcrRegistry, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the named repositories, or one page of all."""
    names = parameters.get("repositoryNames")
    if names:
        return {"repositories": [_described(registry, registry.repository(name)) for name in names]}
    described = [_described(registry, each) for each in registry.repositories]
    return page("repositories", described, parameters)


def put_lifecycle_policy(registry: EcrRegistry, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Replace a repository's lifecycle policy."""
    name = registry.repository(str(parameters.get("repositoryName"))).name
    text = check_policy_text("LifecyclePolicyText", parameters.get("lifecyclePolicyText"), "rules")
    check_lifecycle_integers(text)
    registry.change_repository(name, lifecycle_policy=text)
    return {"registryId": registry.account, "repositoryName": name, "lifecyclePolicyText": text}


def set_repository_policy(registry: EcrRegistry, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Replace a repository's policy."""
    name = registry.repository(str(parameters.get("repositoryName"))).name
    text = check_policy_text("PolicyText", parameters.get("policyText"), "Statement")
    registry.change_repository(name, policy=text)
    return {"registryId": registry.account, "repositoryName": name, "policyText": text}


def tag_resource(registry: EcrRegistry, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Add AWS tags to a repository."""
    arn = str(parameters.get("resourceArn"))
    name = arn.partition(":repository/")[2]
    if arn != registry.arn(name):
        raise invalid_parameter("resourceArn", "an ARN of a repository in this region")
    tags = {**registry.repository(name).tags, **parse_tags(parameters.get("tags") or [])}
    registry.change_repository(name, tags=tags)
    return {}


def _described(registry: EcrRegistry, repository: Repository) -> dict[str, Any]:
    return repository.describe(registry.account, registry.arn(repository.name), registry.host)
