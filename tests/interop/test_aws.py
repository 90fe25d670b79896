"""The function in the runtime emulator with a loopback AWS that has the real host names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from local.aws import LoopbackAws
from local.dockerhub import HubUser
from local.emulator import LambdaEmulator
from local.images import build_image, build_index, build_layer
from tests.interop.conftest import HANDLER

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
OTHER_HOST = "210987654321.dkr.ecr-fips.us-east-1.amazonaws.com"
READER = "arn:aws:iam::210987654321:role/reader"
WRITER = "arn:aws:iam::123456789012:role/writer"
PASSWORD = "hunter2-of-docker-hub"


@pytest.fixture(scope="module")
def aws() -> Iterator[LoopbackAws]:
    with LoopbackAws(hub_users={"ann": HubUser(PASSWORD)}) as cloud:
        cloud.add_role(READER, external_id="for-mirror")
        cloud.add_role(WRITER)
        yield cloud


@pytest.fixture(scope="module")
def function(aws: LoopbackAws) -> Iterator[LambdaEmulator]:
    environment = {**aws.environment, "POWERTOOLS_LOG_LEVEL": "DEBUG"}
    with LambdaEmulator(
        HANDLER, environment=environment, timeout_seconds=120, name="images"
    ) as emulator:
        yield emulator


def _replicate(function: LambdaEmulator, source: str, destination: str, **more: Any) -> Any:
    return function.invoke(
        {
            "RequestType": "Create",
            "ResponseURL": "http://pre-signed-S3-url-for-response",
            "StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/tests/1",
            "RequestId": "request",
            "LogicalResourceId": "Image",
            "ResourceProperties": {"SrcImage": source, "DestImage": destination, **more},
        }
    )


def test_docker_hub_to_ecr_with_a_secret_and_a_role(
    aws: LoopbackAws, function: LambdaEmulator
) -> None:
    image = build_image([build_layer(3_000_000, seed=each) for each in range(3)])
    aws.docker_hub.put(image, "library/postgres", "17")
    aws.docker_hub.private_repositories.add("library/postgres")
    secret = aws.client("secretsmanager", region="us-east-1").create_secret(
        Name="hub", SecretString=json.dumps({"username": "ann", "password": PASSWORD})
    )

    response = _replicate(
        function,
        "docker.io/library/postgres:17",
        f"{HOST}/mirror/postgres:17",
        SrcCreds=secret["ARN"],
        DestRoleArn=WRITER,
        CreateRepository={"ImageTagMutability": "IMMUTABLE"},
        DestTags=["17.2"],
    )

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert response["Data"]["ImageDigest"] == str(image.digest)
    assert aws.ecr().store.tags("mirror/postgres") == dict.fromkeys(("17", "17.2"), image.digest)
    assert [tunnel.status for tunnel in aws.tunnels if tunnel.status != 200] == []
    sessions = [
        call.parameters["RoleSessionName"]
        for call in aws.services.calls
        if call.action == "sts:AssumeRole"
    ]
    assert sessions == ["ecr-image-replicator-destination-images"]
    assert PASSWORD not in function.log
    assert "Basic " not in function.log


def test_ecr_to_ecr_across_accounts_and_regions_with_a_fips_host(
    aws: LoopbackAws, function: LambdaEmulator
) -> None:
    index = build_index(
        [
            build_image([build_layer(200_000, seed=number)], platform)
            for number, platform in enumerate(("linux/amd64", "linux/arm64"), start=10)
        ]
    )
    aws.ecr("210987654321", "us-east-1").put(index, "team/app", "1.0")
    aws.ecr().create_repository("mirror/app", imageTagMutability="IMMUTABLE")
    aws.clear_requests()

    responses = [
        _replicate(
            function,
            f"{OTHER_HOST}/team/app:1.0",
            f"{HOST}/mirror/app:1.0",
            Platforms="all",
            SrcRoleArn=READER,
            SrcExternalId="for-mirror",
            DestRoleArn=WRITER,
        )
        for _ in range(2)
    ]

    assert [response["Status"] for response in responses] == ["SUCCESS"] * 2, responses
    assert [response["Data"]["Changed"] for response in responses] == ["true", "false"]
    assert aws.ecr().store.tags("mirror/app") == {"1.0": index.digest}
    assert "api.ecr-fips.us-east-1.amazonaws.com" in {tunnel.host for tunnel in aws.tunnels}
    signed_in = [
        call.operation
        for registry in (aws.ecr(), aws.ecr("210987654321", "us-east-1"))
        for call in registry.calls
        if call.operation == "GetAuthorizationToken"
    ]
    assert len(signed_in) <= 2
