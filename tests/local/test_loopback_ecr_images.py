"""Layers, images, tags and referrers in ECR's API, called by boto3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local.aws import LoopbackAws
from local.images import build_artifact, build_index
from local.registry.digests import digest_of
from tests.local.ecr_api import code_of
from tests.local.ecr_client import REPOSITORY, EcrClient, repository_in, small_image
from tests.local.wire_client import WireClient

ClientFactory = Callable[[str], WireClient]
REGISTRY_HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


def test_layer_availability_is_checked_for_100_layers_per_call(aws: LoopbackAws, ecr: Any) -> None:
    image = repository_in(aws.ecr())
    digests = [*image.blobs, digest_of(b"missing")]
    response = ecr.batch_check_layer_availability(
        repositoryName=REPOSITORY, layerDigests=[*digests, "sha256:short"]
    )
    found = {each["layerDigest"]: each["layerAvailability"] for each in response["layers"]}
    assert found == dict.fromkeys(image.blobs, "AVAILABLE") | {digest_of(b"missing"): "UNAVAILABLE"}
    assert {each["layerSize"] for each in response["layers"] if "layerSize" in each} == {
        len(content) for content in image.blobs.values()
    }
    assert response["failures"][0]["failureCode"] == "InvalidLayerDigest"
    too_many = [digest_of(str(number).encode()) for number in range(101)]
    assert (
        code_of(
            ecr.batch_check_layer_availability, repositoryName=REPOSITORY, layerDigests=too_many
        )
        == "InvalidParameterException"
    )


def test_batch_get_image_returns_manifests_unchanged(aws: LoopbackAws, ecr: Any) -> None:
    image = repository_in(aws.ecr())
    response = ecr.batch_get_image(
        repositoryName=REPOSITORY, imageIds=[{"imageTag": "1"}, {"imageTag": "2"}]
    )
    found = response["images"][0]
    assert found["imageManifest"].encode() == image.manifest
    assert found["imageId"] == {"imageDigest": image.digest, "imageTag": "1"}
    assert found["imageManifestMediaType"] == image.media_type
    assert response["failures"][0]["failureCode"] == "ImageNotFound"


def test_images_are_described(aws: LoopbackAws, ecr: Any, client_for: ClientFactory) -> None:
    image = small_image()
    aws.ecr().create_repository(REPOSITORY)
    client = EcrClient(client_for(REGISTRY_HOST), aws.authorization())
    client.push_blobs(image)
    for tag in ("1", "2"):
        client.put_manifest(image, tag)
    aws.ecr().put(small_image(1), REPOSITORY)
    by_tag = ecr.describe_images(repositoryName=REPOSITORY, imageIds=[{"imageTag": "1"}])
    details = by_tag["imageDetails"][0]
    assert (details["imageDigest"], details["imageTags"]) == (image.digest, ["1", "2"])
    assert details["imageSizeInBytes"] == sum(map(len, image.blobs.values()))
    untagged = ecr.describe_images(repositoryName=REPOSITORY, filter={"tagStatus": "UNTAGGED"})
    assert [each["imageDigest"] for each in untagged["imageDetails"]] == [small_image(1).digest]
    missing = code_of(
        ecr.describe_images, repositoryName=REPOSITORY, imageIds=[{"imageTag": "none"}]
    )
    assert missing == "ImageNotFoundException"


def test_deleting_the_last_tag_deletes_the_image(aws: LoopbackAws, ecr: Any) -> None:
    image = repository_in(aws.ecr())
    aws.ecr().put(image, REPOSITORY, "2")
    for tag, left in (("1", ["2"]), ("2", [])):
        response = ecr.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": tag}])
        assert response["imageIds"] == [{"imageDigest": image.digest, "imageTag": tag}]
        assert list(aws.ecr().store.tags(REPOSITORY)) == left
        assert bool(aws.ecr().store.manifests(REPOSITORY)) == bool(left)


def test_a_tag_is_deleted_only_if_it_points_at_the_given_digest(aws: LoopbackAws, ecr: Any) -> None:
    image = repository_in(aws.ecr())
    wrong = {"imageTag": "1", "imageDigest": small_image(1).digest}
    aws.ecr().put(small_image(1), REPOSITORY)
    response = ecr.batch_delete_image(repositoryName=REPOSITORY, imageIds=[wrong])
    assert response["failures"][0]["failureCode"] == "ImageTagDoesNotMatchDigest"
    right = {"imageTag": "1", "imageDigest": image.digest}
    assert ecr.batch_delete_image(repositoryName=REPOSITORY, imageIds=[right])["imageIds"]
    assert aws.ecr().store.tags(REPOSITORY) == {}


def test_an_image_is_deleted_by_digest_unless_an_index_refers_to_it(
    aws: LoopbackAws, ecr: Any
) -> None:
    image = small_image()
    index = build_index([image])
    aws.ecr().put(index, REPOSITORY, "1")
    aws.ecr().put(index, REPOSITORY, "2")
    response = ecr.batch_delete_image(
        repositoryName=REPOSITORY,
        imageIds=[{"imageDigest": image.digest}, {}, {"imageTag": "not a tag"}],
    )
    assert [each["failureCode"] for each in response["failures"]] == [
        "ImageReferencedByManifestList",
        "MissingDigestAndTag",
        "InvalidImageTag",
    ]
    response = ecr.batch_delete_image(
        repositoryName=REPOSITORY, imageIds=[{"imageDigest": index.digest}]
    )
    assert [each["imageTag"] for each in response["imageIds"]] == ["1", "2"]
    assert aws.ecr().store.tags(REPOSITORY) == {}
    response = ecr.batch_delete_image(
        repositoryName=REPOSITORY, imageIds=[{"imageDigest": image.digest}]
    )
    assert response["imageIds"] == [{"imageDigest": image.digest}]
    assert aws.ecr().store.manifests(REPOSITORY) == ()


def test_referrers_are_listed_by_type(aws: LoopbackAws, ecr: Any) -> None:
    image = repository_in(aws.ecr())
    for number, kind in enumerate(("application/x-sbom", "application/x-signature")):
        artifact = build_artifact(kind, [("text/plain", str(number).encode())], subject=image)
        aws.ecr().put(artifact, REPOSITORY)
    subject = {"imageDigest": image.digest}
    listed = ecr.list_image_referrers(repositoryName=REPOSITORY, subjectId=subject)["referrers"]
    assert [each["artifactType"] for each in listed] == [
        "application/x-sbom",
        "application/x-signature",
    ]
    chosen = ecr.list_image_referrers(
        repositoryName=REPOSITORY,
        subjectId=subject,
        filter={"artifactTypes": ["application/x-sbom"]},
    )
    assert len(chosen["referrers"]) == 1


def test_images_are_listed_in_pages_and_filtered_by_tag_status(aws: LoopbackAws, ecr: Any) -> None:
    image = repository_in(aws.ecr())
    aws.ecr().put(image, REPOSITORY, "2")
    untagged = aws.ecr().put(small_image(1), REPOSITORY)
    tagged = [{"imageDigest": image.digest, "imageTag": tag} for tag in ("1", "2")]
    pages = ecr.get_paginator("list_images").paginate(
        repositoryName=REPOSITORY, PaginationConfig={"PageSize": 2}
    )
    assert [page["imageIds"] for page in pages] == [tagged, [{"imageDigest": untagged}]]
    for status, expected in (("TAGGED", tagged), ("UNTAGGED", [{"imageDigest": untagged}])):
        listed = ecr.list_images(repositoryName=REPOSITORY, filter={"tagStatus": status})
        assert listed["imageIds"] == expected
    too_many = {"repositoryName": REPOSITORY, "maxResults": 1001}
    with pytest.raises(ClientError, match="maxResults"):
        ecr.list_images(**too_many)
