"""Archives copied from S3 to ECR: roles, errors and ECR's quirks."""

from __future__ import annotations

from pathlib import Path

import pytest
from local.archives import SavedImage, build_docker_save
from local.aws import LoopbackAws
from local.images import build_layer
from tests.functional.conftest import Function

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
DESTINATION = f"{HOST}/mirror/app:1.0"
READER = "arn:aws:iam::123456789012:role/reader"
SOURCE = "s3://archives/app.tar"

LAYERS = [build_layer(60_000, seed, "none") for seed in range(3)]


@pytest.fixture
def archive(aws: LoopbackAws, tmp_path: Path) -> SavedImage:
    """An archive in a bucket, and an ECR repository for its image."""
    saved = SavedImage(LAYERS, ["app:1"])
    s3 = aws.client("s3")
    s3.create_bucket(
        Bucket="archives", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    content = build_docker_save(tmp_path / "app.tar", [saved]).read_bytes()
    s3.put_object(Bucket="archives", Key="app.tar", Body=content)
    return saved


def _requests(aws: LoopbackAws) -> list[str]:
    entries = [each for each in aws.requests_to(aws.ecr()) if each.path.startswith("/v2/")]
    return [f"{each.method} {each.path.split('/')[4]}" for each in entries]


def test_layers_that_are_compressed_during_the_copy_are_uploaded_to_ecr(
    aws: LoopbackAws, aws_function: Function, archive: SavedImage
) -> None:
    aws.ecr().create_repository("mirror/app")

    response = aws_function.create(SOURCE, DESTINATION)
    again = aws_function.create(SOURCE, DESTINATION)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert again["Data"]["Changed"] == "false"
    assert aws.ecr().store.tags("mirror/app") == {"1.0": response["Data"]["ImageDigest"]}
    assert response["Data"]["BlobsCopied"] == str(len(archive.layers) + 1)
    requests = _requests(aws)
    assert requests.count("POST blobs") == 4
    assert requests.count("PATCH blobs") == 3
    assert requests.count("PUT blobs") == 4


def test_a_missing_repository_is_created_for_an_archive(
    aws: LoopbackAws, aws_function: Function, archive: SavedImage
) -> None:
    response = aws_function.create(SOURCE, DESTINATION, CreateRepository="true")

    assert response["Status"] == "SUCCESS", response["Reason"]
    stored = aws.ecr().store.manifest("mirror/app", "1.0").document["config"]["digest"]
    assert aws.ecr().store.read_blob("mirror/app", stored) == archive.config


@pytest.mark.usefixtures("archive")
def test_an_immutable_tag_with_another_image_is_an_error_before_a_layer_is_read(
    aws: LoopbackAws, aws_function: Function, tmp_path: Path
) -> None:
    aws.ecr().create_repository("mirror/app", imageTagMutability="IMMUTABLE")
    assert aws_function.create(SOURCE, DESTINATION)["Status"] == "SUCCESS"
    content = build_docker_save(tmp_path / "new.tar", [SavedImage(LAYERS[:2])]).read_bytes()
    aws.client("s3").put_object(Bucket="archives", Key="app.tar", Body=content)
    aws.clear_requests()

    response = aws_function.create(SOURCE, DESTINATION)

    assert "mirror/app:1.0: the tag is immutable" in response["Reason"]
    assert "is immutable" in response["Reason"]
    assert not [request for request in _requests(aws) if not request.startswith("GET")]


@pytest.mark.usefixtures("archive")
def test_an_archive_is_read_with_the_role_in_srcrolearn(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.ecr().create_repository("mirror/app")
    aws.add_role(READER)

    response = aws_function.create(SOURCE, DESTINATION, SrcRoleArn=READER)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert "sts:AssumeRole" in {call.action for call in aws.services.calls}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("s3://archives/none.tar", "(NoSuchKey: "),
        ("s3://no-such-bucket/app.tar", "(NoSuchBucket: "),
        (f"{SOURCE}?versionId=none", "Check versionId."),
    ],
)
@pytest.mark.usefixtures("archive")
def test_the_message_names_a_missing_object_bucket_or_version(
    aws: LoopbackAws, aws_function: Function, source: str, found: str
) -> None:
    aws.ecr().create_repository("mirror/app")

    reason = aws_function.create(source, DESTINATION)["Reason"]

    assert reason.startswith(f"cannot read {source}: s3:GetObject ")
    assert found in reason
