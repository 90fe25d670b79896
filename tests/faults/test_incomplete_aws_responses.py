"""AWS endpoints whose responses are not AWS's, or lack what they must contain.

Such endpoints are proxies and emulators named by AWS_ENDPOINT_URL.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from local.images import build_image, build_layer, push
from local.registry import RegistryServer
from local.web import LoopbackServer, Request, Response
from tests.replicating import replicate_once

from ecr_image_replicator.errors import ReplicationError

_ECR_IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1"
_ROLE = "arn:aws:iam::123456789012:role/copier"
_ROLE_FAILED = f"cannot assume the role {_ROLE} for the source"
_SIGN_IN_FAILED = (
    "authentication failed for ECR in eu-west-1, the source: ecr:GetAuthorizationToken failed"
)
_KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234"
_ASSUMED = (
    b"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>AKIA</AccessKeyId>"
    b"</Credentials></AssumeRoleResult></AssumeRoleResponse>"
)


@pytest.fixture
def destination(monkeypatch: pytest.MonkeyPatch) -> RegistryServer:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    return RegistryServer()


@pytest.mark.parametrize(
    ("properties", "response", "message"),
    [
        (
            {"SrcImage": _ECR_IMAGE},
            Response(200, {}, b"{}"),
            "authentication failed: ECR's token is invalid",
        ),
        (
            {"SrcImage": _ECR_IMAGE},
            Response(200, {}, b'{"authorizationData": []}'),
            "authentication failed: ECR's token is invalid",
        ),
        (
            {"SrcImage": _ECR_IMAGE, "SrcRoleArn": _ROLE},
            Response(200, {}, b"<AssumeRoleResponse/>"),
            f"{_ROLE_FAILED}: sts:AssumeRole failed: invalid response",
        ),
        (
            {"SrcImage": _ECR_IMAGE, "SrcRoleArn": _ROLE},
            Response(200, {}, _ASSUMED.replace(b"Credentials", b"Other")),
            f"{_ROLE_FAILED}: invalid response: STS returned no Credentials",
        ),
        (
            {"SrcImage": _ECR_IMAGE, "SrcRoleArn": _ROLE},
            Response(200, {}, _ASSUMED),
            f"{_ROLE_FAILED}: invalid response: STS returned no SecretAccessKey",
        ),
        (
            {"SrcImage": _ECR_IMAGE, "SrcRoleArn": _ROLE},
            Response(403, {"Content-Type": "text/html"}, b"<html><p>Blocked<br></html>"),
            f"{_ROLE_FAILED}: sts:AssumeRole failed: invalid response",
        ),
        (
            {"SrcImage": _ECR_IMAGE},
            Response(200, {}, b"null"),
            f"{_SIGN_IN_FAILED}: invalid response",
        ),
        (
            {"SrcImage": _ECR_IMAGE},
            Response(200, {}, b"\xff"),
            f"{_SIGN_IN_FAILED}: invalid response",
        ),
        (
            {"SrcImage": "s3://bucket/app.tar"},
            Response(301),
            "cannot read s3://bucket/app.tar: s3:GetObject failed: every request was redirected",
        ),
        (
            {"SrcImage": "s3://bucket/app.tar"},
            Response(200, {}, b"{}"),
            "cannot read s3://bucket/app.tar: invalid response: S3 returned another range",
        ),
    ],
)  # fmt: skip
def test_an_incomplete_response_is_an_error_that_names_the_call(
    monkeypatch: pytest.MonkeyPatch,
    destination: RegistryServer,
    properties: Mapping[str, str],
    response: Response,
    message: str,
) -> None:
    with destination, LoopbackServer(lambda _: response) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{aws.host}")
        with pytest.raises(ReplicationError) as caught:
            replicate_once({**properties, "DestImage": f"{destination.host}/copy:1"})
    assert str(caught.value).startswith(message)
    assert destination.store.tags("copy") == {}


def test_a_kms_key_without_content_is_an_error(
    monkeypatch: pytest.MonkeyPatch, destination: RegistryServer
) -> None:
    def respond(_: Request) -> Response:
        return Response(200, {}, b'{"KeyUsage": "SIGN_VERIFY"}')

    with destination, RegistryServer() as source, LoopbackServer(respond) as aws:
        push(build_image([build_layer(100)]), source.host, "app", "1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{aws.host}")
        with pytest.raises(ReplicationError, match=f"the KMS key {_KEY}"):
            replicate_once(
                {
                    "SrcImage": f"{source.host}/app:1",
                    "DestImage": f"{destination.host}/copy:1",
                    "VerifySignatureKey": _KEY,
                }
            )
    assert destination.store.tags("copy") == {}
