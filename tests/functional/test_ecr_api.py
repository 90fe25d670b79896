"""Operations of the ECR API that no copy of one image uses."""

from __future__ import annotations

import pytest
from local.aws import LoopbackAws
from local.images import build_image, build_layer

from ecr_image_replicator.aws.sessions import AwsAccess
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.ecr.api import EcrRepository, RepositoryMissingError
from ecr_image_replicator.errors import Side
from ecr_image_replicator.model.ecr_hosts import parse_ecr_host
from ecr_image_replicator.model.references import parse_image_reference
from ecr_image_replicator.retries import RetryPolicy

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


def _repository(name: str = f"{HOST}/mirror/app") -> EcrRepository:
    reference = parse_image_reference(f"{name}:1")
    registry = parse_ecr_host(reference.registry)
    assert registry is not None
    caller = AwsAccess().open_caller(
        None, Side.DESTINATION, deadline=Deadline(20), retry_policy=RetryPolicy(1)
    )
    return EcrRepository(reference, registry, caller)


def test_tags_are_listed_with_their_digests_a_thousand_per_call(aws: LoopbackAws) -> None:
    images = [build_image([build_layer(600, seed=seed)]) for seed in range(2)]
    registry = aws.ecr()
    registry.put(images[0], "mirror/app")
    for number in range(1500):
        registry.put(images[number % 2], "mirror/app", f"v{number}")
    registry.put(images[1], "mirror/app", "latest")

    tags = _repository().list_tag_digests()

    assert tags is not None
    assert len(tags) == 1501
    assert str(tags["v2"]) == images[0].digest
    assert str(tags["latest"]) == images[1].digest
    assert registry.operations == ["ListImages"] * 2


def test_a_repository_without_tags_has_an_empty_list(aws: LoopbackAws) -> None:
    aws.ecr().put(build_image([build_layer(600, seed=1)]), "mirror/app")

    assert _repository().list_tag_digests() == {}


def test_tags_cannot_be_listed_without_the_permission(aws: LoopbackAws) -> None:
    aws.ecr().create_repository("mirror/app")
    aws.ecr().quirks.denied_actions.add("ecr:ListImages")

    assert _repository().list_tag_digests() is None


def test_ecr_public_is_not_asked_for_a_list_of_tags(aws: LoopbackAws) -> None:
    assert _repository("public.ecr.aws/a1b2c3d4/app").list_tag_digests() is None
    assert aws.requests == ()


def test_tags_of_a_missing_repository_are_an_error(aws: LoopbackAws) -> None:  # noqa: ARG001 - its environment
    with pytest.raises(RepositoryMissingError, match="mirror/app"):
        _repository().list_tag_digests()
