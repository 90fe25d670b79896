"""Referrers, platform tags and subsets with ECR as the destination."""

from __future__ import annotations

from typing import Any

import pytest
from local.aws import LoopbackAws
from local.images import Content, Image, build_image, build_index, build_layer, place
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import cosign_tag, sbom, signatures

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
REPOSITORY = "library/app"


@pytest.fixture
def images() -> list[Image]:
    return [
        build_image([build_layer(5000, seed=number)], platform)
        for number, platform in enumerate(("linux/amd64", "linux/arm64", "linux/s390x"))
    ]


def put(aws: LoopbackAws, content: Content, tag: str | None = None) -> None:
    place(content, aws.docker_hub.store, REPOSITORY, tag)


def create(function: Function, **properties: Any) -> dict[str, Any]:
    return function.create("app:1", f"{HOST}/mirror/app:1", **properties)


def test_referrers_are_copied_from_docker_hub_to_ecr(
    aws: LoopbackAws, aws_function: Function, images: list[Image]
) -> None:
    index = build_index(images)
    put(aws, index, "1")
    attached = [sbom(index), sbom(images[0])]
    for each in attached:
        put(aws, each)
    signed = signatures([(b"{}", "x")])
    put(aws, signed, cosign_tag(index.digest))
    aws.ecr().create_repository("mirror/app", imageTagMutability="IMMUTABLE")

    response = create(aws_function, Platforms="all", CopyReferrers="required")

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert response["Data"]["ReferrersCopied"] == "3"
    store = aws.ecr().store
    assert store.tags("mirror/app") == {"1": index.digest, cosign_tag(index.digest): signed.digest}
    assert {each.digest for each in store.manifests("mirror/app")} >= {
        each.digest for each in attached
    }
    again = create(aws_function, Platforms="all", CopyReferrers="required")
    assert again["Data"]["Changed"] == "false"


def test_an_immutable_platform_tag_is_an_error_before_anything_is_pushed(
    aws: LoopbackAws, aws_function: Function, images: list[Image]
) -> None:
    put(aws, build_index(images), "1")
    registry = aws.ecr()
    registry.create_repository("mirror/app", imageTagMutability="IMMUTABLE")
    place(images[2], registry.store, "mirror/app", "1-arm64")

    response = create(
        aws_function, Platforms="all", ArchImageTags={"amd64": "1-amd64", "arm64": "1-arm64"}
    )

    assert response["Status"] == "FAILED"
    assert "mirror/app:1-arm64: the tag is immutable" in response["Reason"]
    assert "Choose a new tag, or make the tag mutable." in response["Reason"]
    assert registry.store.tags("mirror/app") == {"1-arm64": images[2].digest}
    assert not [
        each
        for each in aws.requests_to(registry)
        if each.method in {"POST", "PUT"} and each.path.startswith("/v2/")
    ]


def test_a_platform_subset_and_its_tags_are_pushed_to_a_new_repository(
    aws: LoopbackAws, aws_function: Function, images: list[Image]
) -> None:
    put(aws, build_index(images), "1")
    response = create(
        aws_function,
        Platforms="linux/amd64,linux/arm64",
        ArchImageTags={"arm64": "1-arm64"},
        CreateRepository="true",
        CopyReferrers="true",
    )

    assert response["Status"] == "SUCCESS", response["Reason"]
    tags = aws.ecr().store.tags("mirror/app")
    assert tags == {"1": response["Data"]["ImageDigest"], "1-arm64": images[1].digest}
