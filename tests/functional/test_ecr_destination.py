"""ECR as the destination: number of requests, quirks and errors."""

from __future__ import annotations

import pytest
from local.aws import LoopbackAws
from local.images import build_image, build_index, build_layer
from local.images.layers import Layer
from local.images.manifests import Image
from local.registry.digests import digest_of
from tests.functional.conftest import Function

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
DESTINATION = f"{HOST}/mirror/app:1.0"

_EMPTY_DIGEST = digest_of(b"")
_EMPTY_LAYER = Layer(b"", _EMPTY_DIGEST, _EMPTY_DIGEST, "none")
#: With the numbers as strings, as CloudFormation delivers them.
_LIFECYCLE = {
    "rules": [
        {
            "rulePriority": "1",
            "selection": {
                "tagStatus": "untagged",
                "countType": "imageCountMoreThan",
                "countNumber": "14",
            },
            "action": {"type": "expire"},
        }
    ]
}

_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": ["ecr:BatchGetImage"]},
    ],
}


def _image(seed: int = 1, layers: int = 2) -> Image:
    return build_image([build_layer(20_000, seed=seed * 100 + each) for each in range(layers)])


def _requests(aws: LoopbackAws) -> list[str]:
    """Return the requests of the distribution protocol, as METHOD kind."""
    entries = [each for each in aws.requests_to(aws.ecr()) if each.path.startswith("/v2/")]
    return [f"{each.method} {each.path.split('/')[4]}" for each in entries]


def _calls(aws: LoopbackAws) -> list[str]:
    return [call.operation for call in aws.ecr().calls]


def test_a_copy_from_docker_hub_uses_the_minimum_of_requests(
    aws: LoopbackAws, aws_function: Function
) -> None:
    image = _image(layers=3)
    aws.docker_hub.put(image, "library/nginx", "1.27")
    aws.ecr().create_repository("mirror/app")

    response = aws_function.create("nginx:1.27", DESTINATION)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert response["Data"]["ImageDigest"] == str(image.digest)
    assert aws.ecr().store.tags("mirror/app") == {"1.0": image.digest}
    blobs = 4
    assert _requests(aws).count("POST blobs") == blobs
    assert _requests(aws).count("PUT blobs") == blobs
    assert len(_requests(aws)) == 2 * blobs + 2
    assert _calls(aws) == ["GetAuthorizationToken", "BatchCheckLayerAvailability"]


def test_an_unchanged_image_takes_one_request_in_a_warm_function(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1.27")
    aws.ecr().create_repository("mirror/app", imageTagMutability="IMMUTABLE")
    assert aws_function.create("nginx:1.27", DESTINATION)["Status"] == "SUCCESS"
    aws.clear_requests()

    response = aws_function.create("nginx:1.27", DESTINATION)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert response["Data"]["Changed"] == "false"
    assert _requests(aws) == ["GET manifests"]
    assert _calls(aws) == []


@pytest.mark.parametrize("status", [400, 401, 403])
def test_an_expired_token_is_renewed_once(
    aws: LoopbackAws, aws_function: Function, status: int
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1.27")
    registry = aws.ecr()
    registry.quirks.expired_token_status = status  # type: ignore[assignment]
    registry.create_repository("mirror/app")
    assert aws_function.create("nginx:1.27", DESTINATION)["Status"] == "SUCCESS"
    aws.expire_tokens()
    aws.clear_requests()

    response = aws_function.create("nginx:1.27", DESTINATION)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert _requests(aws) == ["GET manifests"] * 2
    assert _calls(aws) == ["GetAuthorizationToken"]


def test_an_index_with_several_tags_pushes_every_tag_once(
    aws: LoopbackAws, aws_function: Function
) -> None:
    index = build_index(
        [
            build_image([build_layer(5000, seed=number)], platform)
            for number, platform in enumerate(("linux/amd64", "linux/arm64"))
        ]
    )
    aws.docker_hub.put(index, "library/nginx", "1.27")
    aws.ecr().create_repository("mirror/app")

    response = aws_function.create(
        "nginx:1.27", DESTINATION, CopyImageIndex="true", DestTags=["1", "latest"]
    )

    assert response["Status"] == "SUCCESS", response["Reason"]
    tags = aws.ecr().store.tags("mirror/app")
    assert tags == dict.fromkeys(("1", "1.0", "latest"), index.digest)
    assert _requests(aws).count("PUT manifests") == 2 + 3


def test_layers_are_checked_in_batches_of_100(aws: LoopbackAws, aws_function: Function) -> None:
    image = build_image([build_layer(600, seed=number) for number in range(120)])
    aws.docker_hub.put(image, "library/nginx", "1.27")
    aws.ecr().put(image, "mirror/app", "0.9")

    response = aws_function.create("nginx:1.27", DESTINATION)

    assert response["Status"] == "SUCCESS", response["Reason"]
    checks = [c for c in aws.ecr().calls if c.operation == "BatchCheckLayerAvailability"]
    assert [len(call.parameters["layerDigests"]) for call in checks] == [100, 21]
    assert "POST blobs" not in _requests(aws)
    assert response["Data"]["BlobsSkipped"] == "121"


def test_every_blob_is_pushed_if_batchchecklayeravailability_is_denied(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1.27")
    aws.ecr().put(_image(), "mirror/app", "0.9")
    aws.ecr().quirks.denied_actions.add("ecr:BatchCheckLayerAvailability")

    response = aws_function.create("nginx:1.27", DESTINATION)

    assert response["Status"] == "SUCCESS", response["Reason"]
    # a HEAD needs the denied permission too
    assert _requests(aws).count("HEAD blobs") == 3
    assert response["Data"]["BlobsCopied"] == "3"


def test_an_immutable_tag_with_another_image_is_an_error_before_anything_is_pushed(
    aws: LoopbackAws, aws_function: Function
) -> None:
    old, new = _image(1), _image(2)
    aws.docker_hub.put(new, "library/nginx", "1.27")
    aws.ecr().create_repository("mirror/app", imageTagMutability="IMMUTABLE")
    aws.ecr().put(old, "mirror/app", "1.0")

    response = aws_function.create("nginx:1.27", DESTINATION)

    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith(
        f"cannot push {DESTINATION}: the tag is immutable and points at {old.digest}, not at "
        f"{new.digest}. Choose a new tag in DestImage, or make the tag mutable."
    )
    assert _requests(aws) == ["GET manifests"]
    assert _calls(aws) == ["GetAuthorizationToken", "DescribeRepositories"]


def test_an_immutable_tag_is_reported_if_describerepositories_is_denied(
    aws: LoopbackAws, aws_function: Function
) -> None:
    old, new = _image(1), _image(2)
    aws.docker_hub.put(new, "library/nginx", "1.27")
    aws.ecr().create_repository("mirror/app", imageTagMutability="IMMUTABLE")
    aws.ecr().put(old, "mirror/app", "1.0")
    aws.ecr().quirks.denied_actions.add("ecr:DescribeRepositories")

    response = aws_function.create("nginx:1.27", DESTINATION)

    assert response["Status"] == "FAILED"
    assert f"is immutable and points at {old.digest}" in response["Reason"]
    assert str(new.digest) in response["Reason"]
    assert aws.ecr().store.tags("mirror/app") == {"1.0": old.digest}


def test_a_tag_that_is_excluded_from_immutability_is_changed(
    aws: LoopbackAws, aws_function: Function
) -> None:
    old, new = _image(1), _image(2)
    aws.docker_hub.put(new, "library/nginx", "1.27")
    aws.ecr().create_repository(
        "mirror/app",
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "1.*"}],
    )
    aws.ecr().put(old, "mirror/app", "1.0")

    response = aws_function.create("nginx:1.27", DESTINATION)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert aws.ecr().store.tags("mirror/app") == {"1.0": new.digest}


def test_a_mutable_tag_is_changed(aws: LoopbackAws, aws_function: Function) -> None:
    new = _image(2)
    aws.docker_hub.put(new, "library/nginx", "1.27")
    aws.ecr().put(_image(1), "mirror/app", "1.0")

    response = aws_function.create("nginx:1.27", DESTINATION)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert aws.ecr().store.tags("mirror/app") == {"1.0": new.digest}


def test_an_empty_blob_is_an_error_before_anything_is_pushed(
    aws: LoopbackAws, aws_function: Function
) -> None:
    image = build_image([build_layer(5000, seed=1), _EMPTY_LAYER])
    aws.docker_hub.put(image, "library/nginx", "1.27")
    aws.ecr().create_repository("mirror/app")

    response = aws_function.create("nginx:1.27", DESTINATION)

    assert response["Status"] == "FAILED"
    assert (
        f"cannot push blob {_EMPTY_DIGEST} to {HOST}/mirror/app: ECR does not support empty "
        in (response["Reason"])
    )
    assert "POST blobs" not in _requests(aws)


def test_blobs_are_mounted_from_another_repository_of_the_registry(
    aws: LoopbackAws, aws_function: Function
) -> None:
    image = _image()
    aws.ecr().put(image, "team/app", "1")
    aws.ecr().create_repository("mirror/app")
    aws.ecr().account_settings["BLOB_MOUNTING"] = "ENABLED"

    response = aws_function.create(f"{HOST}/team/app:1", DESTINATION)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert response["Data"]["BlobsMounted"] == "3"
    assert "PUT blobs" not in _requests(aws)


def test_blobs_are_copied_if_blob_mounting_is_disabled(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.ecr().put(_image(), "team/app", "1")
    aws.ecr().create_repository("mirror/app")

    response = aws_function.create(f"{HOST}/team/app:1", DESTINATION)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert response["Data"]["BlobsCopied"] == "3"
    assert _requests(aws).count("POST blobs") == 3
    assert _calls(aws) == ["GetAuthorizationToken", "BatchCheckLayerAvailability"]


@pytest.mark.parametrize("drops", [False, True])
def test_the_message_for_a_missing_repository_names_account_and_region(
    aws: LoopbackAws, aws_function: Function, drops: bool
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1.27")
    aws.ecr().quirks.drops_uploads_to_missing_repositories = drops

    response = aws_function.create("nginx:1.27", DESTINATION, RetryConfigs={"numAttempts": 1})

    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith(
        f"cannot push {DESTINATION}: ECR repository mirror/app does not exist in account "
        "123456789012, region eu-west-1. Create it, or set CreateRepository: true."
    )


def test_the_message_for_a_closed_connection_names_initiatelayerupload(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1.27")
    aws.ecr().create_repository("mirror/app")
    aws.ecr().quirks.drops_denied_uploads = True
    aws.ecr().quirks.denied_actions.add("ecr:InitiateLayerUpload")

    response = aws_function.create("nginx:1.27", DESTINATION, RetryConfigs={"numAttempts": 1})

    assert response["Status"] == "FAILED"
    assert "ECR closes connections if ecr:InitiateLayerUpload is denied" in response["Reason"]


@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("checks", [False, True])
def test_a_missing_repository_is_created_with_the_requested_settings(
    aws: LoopbackAws, aws_function: Function, drops: bool, checks: bool
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1.27")
    aws.ecr().quirks.drops_uploads_to_missing_repositories = drops
    if not checks:
        aws.ecr().quirks.denied_actions.add("ecr:BatchCheckLayerAvailability")

    response = aws_function.create(
        "nginx:1.27",
        DESTINATION,
        CreateRepository={
            "ImageTagMutability": "IMMUTABLE",
            "ScanOnPush": "true",
            "LifecyclePolicy": _LIFECYCLE,
            "RepositoryPolicy": _POLICY,
            "Tags": {"team": "one"},
        },
        RetryConfigs={"numAttempts": 1},
    )

    assert response["Status"] == "SUCCESS", response["Reason"]
    created = [call for call in aws.ecr().calls if call.operation == "CreateRepository"]
    assert len(created) == 1
    assert created[0].parameters["imageTagMutability"] == "IMMUTABLE"
    assert created[0].parameters["imageScanningConfiguration"] == {"scanOnPush": True}
    assert created[0].parameters["tags"] == [{"Key": "team", "Value": "one"}]
    assert {"PutLifecyclePolicy", "SetRepositoryPolicy"} <= set(_calls(aws))


def test_a_push_may_create_the_repository_from_a_creation_template(
    aws: LoopbackAws, aws_function: Function
) -> None:
    image = _image()
    aws.docker_hub.put(image, "library/nginx", "1.27")
    aws.ecr().quirks.creates_on_push = "mirror/"

    response = aws_function.create("nginx:1.27", DESTINATION)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert aws.ecr().store.tags("mirror/app") == {"1.0": image.digest}


def test_create_repository_is_invalid_for_other_registries(aws_function: Function) -> None:
    response = aws_function.create("nginx:1.27", "ghcr.io/team/app:1.0", CreateRepository="true")

    assert response["Reason"].startswith(
        "invalid CreateRepository: ghcr.io/team/app:1.0 is not in a private ECR registry"
    )
