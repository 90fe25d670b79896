"""Dry runs with ECR as the destination: nothing is changed."""

from __future__ import annotations

import pytest
from local.aws import LoopbackAws
from local.images import Image, build_image, build_layer
from tests.functional.conftest import Function

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
DESTINATION = f"{HOST}/mirror/app:1.0"
#: API calls that only read.
_READ_CALLS = {"GetAuthorizationToken", "BatchCheckLayerAvailability", "DescribeRepositories"}


@pytest.fixture
def image(aws: LoopbackAws) -> Image:
    image = build_image([build_layer(20_000, seed=each) for each in range(2)])
    aws.docker_hub.put(image, "library/nginx", "1.27")
    return image


def _requests(aws: LoopbackAws) -> list[str]:
    """Return the requests of the distribution protocol, as METHOD kind."""
    entries = [each for each in aws.requests_to(aws.ecr()) if each.path.startswith("/v2/")]
    return [f"{each.method} {each.path.split('/')[4]}" for each in entries]


def _calls(aws: LoopbackAws) -> list[str]:
    return [call.operation for call in aws.ecr().calls]


def test_a_dry_run_checks_layers_with_one_call(
    aws: LoopbackAws, aws_function: Function, image: Image
) -> None:
    aws.ecr().put(build_image([build_layer(20_000, seed=0)]), "mirror/app", "0")
    aws.clear_requests()

    planned = aws_function.create("nginx:1.27", DESTINATION, DryRun="true")

    assert planned["Status"] == "SUCCESS", planned
    assert _requests(aws) == ["GET manifests"]
    assert _calls(aws) == ["GetAuthorizationToken", "BatchCheckLayerAvailability"]
    assert (planned["Data"]["BlobsCopied"], planned["Data"]["BlobsSkipped"]) == ("2", "1")
    assert image.digest not in {each.digest for each in aws.ecr().store.manifests("mirror/app")}
    real = aws_function.create("nginx:1.27", DESTINATION)
    assert real["Data"]["BytesCopied"] == planned["Data"]["BytesCopied"]


@pytest.mark.usefixtures("image")
def test_a_dry_run_checks_each_blob_if_batchchecklayeravailability_is_denied(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.ecr().create_repository("mirror/app")
    aws.ecr().quirks.denied_actions.add("ecr:BatchCheckLayerAvailability")

    response = aws_function.create("nginx:1.27", DESTINATION, DryRun="true")

    assert response["Data"]["BlobsCopied"] == "3"
    assert sorted(_requests(aws)) == ["GET manifests"] + ["HEAD blobs"] * 3
    assert set(_calls(aws)) <= _READ_CALLS


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("checks", [True, False])
def test_a_dry_run_does_not_create_the_repository(
    aws: LoopbackAws,
    aws_function: Function,
    caplog: pytest.LogCaptureFixture,
    checks: bool,
) -> None:
    caplog.set_level("INFO", "ecr_image_replicator")
    if not checks:
        aws.ecr().quirks.denied_actions.add("ecr:BatchCheckLayerAvailability")

    response = aws_function.create(
        "nginx:1.27", DESTINATION, CreateRepository="true", DryRun="true"
    )

    assert response["Status"] == "SUCCESS", response
    assert set(_calls(aws)) <= _READ_CALLS
    assert {each.partition(" ")[0] for each in _requests(aws)} <= {"GET", "HEAD"}
    assert aws.ecr().store.repositories == ()
    assert "dry run: would make the repository" in caplog.messages


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("checks", [True, False])
def test_a_missing_repository_fails_a_dry_run_and_a_real_run_with_the_same_message(
    aws: LoopbackAws, aws_function: Function, checks: bool
) -> None:
    if not checks:
        aws.ecr().quirks.denied_actions.add("ecr:BatchCheckLayerAvailability")

    reasons = {
        aws_function.create("nginx:1.27", DESTINATION, DryRun=each)["Reason"]
        for each in (True, False)
    }

    assert len(reasons) == 1
    assert reasons.pop().startswith(
        "cannot push 123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror/app:1.0: ECR repository "
    )


@pytest.mark.usefixtures("image")
def test_an_immutable_tag_fails_a_dry_run_and_a_real_run_with_the_same_message(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.ecr().create_repository("mirror/app", imageTagMutability="IMMUTABLE")
    aws.ecr().put(build_image([build_layer(500, seed=9)]), "mirror/app", "1.0")

    reasons = {
        aws_function.create("nginx:1.27", DESTINATION, DryRun=each)["Reason"]
        for each in (True, False)
    }

    assert len(reasons) == 1
    assert "is immutable and points at" in reasons.pop()


def test_blobs_that_may_be_mounted_count_as_copied(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.ecr().put(build_image([build_layer(500, seed=9)]), "team/app", "1")
    aws.ecr().create_repository("mirror/app")

    named = f"{HOST}/team/app:1", DESTINATION
    planned = aws_function.create(*named, DryRun="true")["Data"]
    real = aws_function.create(*named)["Data"]

    assert planned["BlobsCopied"] == real["BlobsCopied"] == "2"
    assert planned["BytesCopied"] == real["BytesCopied"]
