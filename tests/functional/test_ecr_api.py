"""ECR's own features: tag lists, archived images, pull-through cache, maximum layer size."""

from __future__ import annotations

import json
from typing import Any

import pytest
from local.aws import LoopbackAws
from local.images import build_image, build_layer
from tests.functional.conftest import Function

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
        None, Side.DESTINATION, deadline=Deadline(120), retry_policy=RetryPolicy(1)
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


def test_the_tag_list_is_none_if_ecr_listimages_is_denied(aws: LoopbackAws) -> None:
    aws.ecr().create_repository("mirror/app")
    aws.ecr().quirks.denied_actions.add("ecr:ListImages")

    assert _repository().list_tag_digests() is None


def test_ecr_public_tags_are_not_listed(aws: LoopbackAws) -> None:
    assert _repository("public.ecr.aws/a1b2c3d4/app").list_tag_digests() is None
    assert aws.requests == ()


def test_listing_tags_of_a_missing_repository_is_an_error(aws: LoopbackAws) -> None:  # noqa: ARG001 - sets the environment
    with pytest.raises(RepositoryMissingError, match="mirror/app"):
        _repository().list_tag_digests()


def _copy_from(aws: LoopbackAws, function: Function, source: str) -> dict[str, Any]:
    aws.ecr(region="us-east-1").create_repository("mirror/app")
    destination = f"{HOST.replace('eu-west-1', 'us-east-1')}/mirror/app:1"
    return function.create(f"{HOST}/{source}", destination)


@pytest.mark.parametrize("selector", [":1", "@{digest}"])
def test_the_message_for_an_archived_image_names_the_storage_class(
    aws: LoopbackAws, aws_function: Function, selector: str
) -> None:
    image = build_image([build_layer(600, seed=1)])
    aws.ecr().put(image, "team/app", "1")
    aws.ecr().quirks.archived.add(image.digest)
    source = f"team/app{selector.format(digest=image.digest)}"

    response = _copy_from(aws, aws_function, source)

    assert response["Reason"].startswith(
        f"cannot pull {HOST}/{source}: image not found, it is in ECR's archive storage class (404 "
        "Not Found). Restore the image in ECR, or push it again."
    ), response["Reason"]


@pytest.mark.parametrize("denied", [True, False])
def test_a_missing_image_is_not_reported_as_archived(
    aws: LoopbackAws, aws_function: Function, denied: bool
) -> None:
    aws.ecr().put(build_image([build_layer(600, seed=1)]), "team/app", "1")
    if denied:
        aws.ecr().quirks.denied_actions.add("ecr:DescribeImages")

    response = _copy_from(aws, aws_function, "team/app:2")

    assert f"cannot pull {HOST}/team/app:2: image not found (404" in response["Reason"]
    assert "archive" not in response["Reason"]


def test_an_image_is_pulled_through_a_pull_through_cache_rule(
    aws: LoopbackAws, aws_function: Function
) -> None:
    image = build_image([build_layer(600, seed=1)])
    aws.docker_hub.put(image, "library/nginx", "1")
    aws.ecr().quirks.pull_through = {"docker-hub/": aws.docker_hub.store}

    response = _copy_from(aws, aws_function, "docker-hub/library/nginx:1")

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert response["Data"]["ImageDigest"] == image.digest


def test_the_message_names_the_permission_of_a_pull_through_cache_rule(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.docker_hub.put(build_image([build_layer(600, seed=1)]), "library/nginx", "1")
    aws.ecr().quirks.pull_through = {"docker-hub/": aws.docker_hub.store}
    aws.ecr().quirks.denied_actions.add("ecr:BatchImportUpstreamImage")

    response = _copy_from(aws, aws_function, "docker-hub/library/nginx:1")

    assert "not authorized to perform: ecr:BatchImportUpstreamImage" in response["Reason"]


@pytest.mark.parametrize(
    ("host", "mib"), [(HOST, 52_000), ("public.ecr.aws", 10_000)], ids=["private", "public"]
)
def test_a_layer_above_ecrs_maximum_size_is_an_error_before_anything_is_pushed(
    aws: LoopbackAws, aws_function: Function, host: str, mib: int
) -> None:
    image = build_image([build_layer(600, seed=1)])
    document = json.loads(image.manifest)
    document["layers"][0]["size"] = mib * 1024 * 1024 + 1
    document["layers"][0]["digest"] = "sha256:" + "a" * 64
    aws.docker_hub.put(image, "library/nginx", "1")
    aws.docker_hub.store.put_manifest(
        "library/nginx", "big", json.dumps(document).encode(), image.media_type
    )
    aws.ecr().create_repository("mirror/app")
    aws.public_ecr.owners["mirror"] = "123456789012"
    aws.public_ecr.store.create_repository("mirror/app")

    response = aws_function.create("nginx:big", f"{host}/mirror/app:1")

    assert f"exceed ECR's maximum of {mib:,} MiB per layer" in response["Reason"]
    assert not [each for each in aws.requests_to(aws.ecr()) if each.method == "POST"]
