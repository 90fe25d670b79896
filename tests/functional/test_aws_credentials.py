"""Secrets, roles and ECR tokens: the AWS calls, and the message for each of their errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from local.aws import LoopbackAws
from local.images import build_image, build_layer
from local.images.manifests import Image
from tests.functional.conftest import Function

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
OTHER_HOST = "210987654321.dkr.ecr.us-east-1.amazonaws.com"
DESTINATION = f"{HOST}/mirror/app:1.0"
READER = "arn:aws:iam::210987654321:role/reader"
WRITER = "arn:aws:iam::123456789012:role/writer"
HUB = {"username": "ann", "password": "hunter2"}


def _image() -> Image:
    return build_image([build_layer(5000, seed=1)])


def _private_hub(aws: LoopbackAws) -> None:
    aws.docker_hub.put(_image(), "team/app", "1")
    aws.docker_hub.private_repositories.add("team/app")
    aws.ecr().create_repository("mirror/app")


def _create_secret(
    aws: LoopbackAws, name: str = "hub", region: str = "eu-west-1", **content: Any
) -> str:
    response = aws.client("secretsmanager", region=region).create_secret(Name=name, **content)
    return str(response["ARN"])


def _actions(aws: LoopbackAws) -> list[str]:
    return [call.action for call in aws.services.calls]


@pytest.mark.parametrize(
    "content",
    [
        {"SecretString": json.dumps(HUB)},
        {"SecretString": "ann:hunter2"},
        {"SecretBinary": b"ann:hunter2"},
        {"SecretString": json.dumps({"auths": {"https://index.docker.io/v1/": HUB}})},
        {"SecretString": json.dumps({"username": "ann", "accessToken": "hunter2"})},
        {"SecretString": json.dumps({"ann": "hunter2"})},
        {"SecretString": json.dumps({"https://index.docker.io/v1/": {"auth": "YW5uOmh1bnRlcjI="}})},
        {"SecretString": json.dumps({"auths": {"docker.io": {}, "docker.io/team": HUB}})},
        {"SecretBinary": json.dumps({"auths": {"docker.io/team/app": HUB}}).encode()},
    ],
)
def test_every_format_of_a_secret_is_accepted(
    aws: LoopbackAws, aws_function: Function, content: dict[str, Any]
) -> None:
    _private_hub(aws)
    _create_secret(aws, **content)

    response = aws_function.create("team/app:1", DESTINATION, SrcCreds="hub")

    assert response["Status"] == "SUCCESS", response["Reason"]


def test_a_secret_is_cached_and_read_again_after_a_failed_login(
    aws: LoopbackAws, aws_function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecr_image_replicator.aws.logins._MIN_RENEWAL_AGE_SECONDS", 0.0)
    _private_hub(aws)
    _create_secret(aws, SecretString="ann:old")
    assert aws_function.create("team/app:1", DESTINATION, SrcCreds="hub")["Status"] == "FAILED"
    aws.client("secretsmanager").put_secret_value(SecretId="hub", SecretString="ann:hunter2")
    aws.clear_requests()

    for _ in range(2):
        response = aws_function.create("team/app:1", DESTINATION, SrcCreds="hub")
        assert response["Status"] == "SUCCESS", response["Reason"]

    assert _actions(aws) == ["secretsmanager:GetSecretValue"]


def test_a_secret_is_read_in_the_region_of_its_arn(
    aws: LoopbackAws, aws_function: Function
) -> None:
    _private_hub(aws)
    arn = _create_secret(aws, region="us-east-1", SecretString=json.dumps(HUB))

    response = aws_function.create("team/app:1", DESTINATION, SrcCreds=arn)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert len(aws.requests_to("secretsmanager.us-east-1.amazonaws.com")) == 2


@pytest.mark.parametrize(
    ("content", "denied", "message"),
    [
        (
            None,
            None,
            (
                "cannot read the secret hub in SrcCreds: secretsmanager:GetSecretValue failed: not "
                "found (ResourceNotFoundException: Secrets Manager can't find the specified "
                "secret.). Check the name; a secret of another region or account is named by its "
                "ARN."
            ),
        ),
        (
            "ann:hunter2",
            "secretsmanager:GetSecretValue",
            (
                "cannot read the secret hub in SrcCreds: secretsmanager:GetSecretValue failed: "
                "access denied (AccessDeniedException: User: "
            ),
        ),
        ("{}", None, "invalid login in the secret hub: its content has no known form. Store "),
        ("hunter2", None, "invalid login in the secret hub: its content has no known form. Store "),
        (
            '{"hunter2',
            None,
            "invalid login in the secret hub: it begins with { and is not valid JSON. Store ",
        ),
        (
            '{"auths": {"ghcr.io": {"auth": "YW5uOmh1bnRlcjI="}}}',
            None,
            "cannot read the login for docker.io in the secret hub: not found, the Docker ",
        ),
        (
            "ann:hunter3",
            None,
            (
                "cannot pull docker.io/team/app:1: authentication failed (401 Unauthorized "
                "from auth.docker.io) with the credentials in the secret hub. Check the user name "
                "and the password there."
            ),
        ),
    ],
)
def test_the_message_for_an_invalid_secret_names_it_and_does_not_contain_its_value(
    aws: LoopbackAws,
    aws_function: Function,
    caplog: pytest.LogCaptureFixture,
    content: str | None,
    denied: str | None,
    message: str,
) -> None:
    caplog.set_level("DEBUG", "ecr_image_replicator")
    _private_hub(aws)
    if content is not None:
        _create_secret(aws, SecretString=content)
    if denied:
        aws.services.denied_actions.add(denied)

    response = aws_function.create("team/app:1", DESTINATION, SrcCreds="hub")

    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith(message), response["Reason"]
    assert "hunter" not in response["Reason"] + caplog.text


def test_each_endpoint_assumes_its_own_role(
    aws: LoopbackAws, aws_function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "replicator-Function-1ABC")
    aws.add_role(READER, external_id="for-mirror")
    aws.add_role(WRITER)
    image = _image()
    source = aws.ecr("210987654321", "us-east-1")
    source.put(image, "team/app", "1")
    aws.ecr().create_repository("mirror/app")

    response = aws_function.create(
        f"{OTHER_HOST}/team/app:1",
        DESTINATION,
        SrcRoleArn=READER,
        SrcExternalId="for-mirror",
        DestRoleArn=WRITER,
    )

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert aws.ecr().store.tags("mirror/app") == {"1.0": image.digest}
    sessions = {
        call.parameters["RoleArn"]: call.parameters["RoleSessionName"]
        for call in aws.services.calls
        if call.action == "sts:AssumeRole"
    }
    assert sessions == {
        READER: "ecr-image-replicator-source-replicator-Function-1ABC",
        WRITER: "ecr-image-replicator-destination-replicator-Function-1ABC",
    }
    assert [call.operation for call in source.calls] == ["GetAuthorizationToken"]
    assert {call.caller.account for call in aws.ecr().calls} == {"123456789012"}


def test_a_role_is_assumed_once_for_several_resources(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.add_role(WRITER)
    aws.docker_hub.put(_image(), "library/nginx", "1")
    aws.ecr().create_repository("mirror/app")

    for tag in ("1.0", "1.1", "1.2"):
        response = aws_function.create("nginx:1", f"{HOST}/mirror/app:{tag}", DestRoleArn=WRITER)
        assert response["Status"] == "SUCCESS", response["Reason"]

    assert _actions(aws).count("sts:AssumeRole") == 1


@pytest.mark.parametrize(("side", "name"), [("source", "Src"), ("destination", "Dest")])
def test_the_message_for_a_role_that_cannot_be_assumed_names_role_and_endpoint(
    aws: LoopbackAws, aws_function: Function, side: str, name: str
) -> None:
    aws.add_role(READER, external_id="for-mirror")
    aws.docker_hub.put(_image(), "library/nginx", "1")
    aws.ecr().create_repository("mirror/app")
    hosts = {"source": (f"{OTHER_HOST}/team/app:1", DESTINATION)}

    response = aws_function.create(
        *hosts.get(side, ("nginx:1", DESTINATION)),
        **{f"{name}RoleArn": READER, f"{name}ExternalId": "another"},
    )

    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith(
        f"cannot assume the role {READER} for the {side}: role not found or access denied "
        "(AccessDenied: User: "
    ), response["Reason"]
    assert (
        "). Allow sts:AssumeRole on the role, and allow this caller in the role's trust policy "
        f"with the external ID in {name}ExternalId."
    ) in response["Reason"]
    assert "another" not in response["Reason"]


def test_the_message_for_a_denied_ecr_token_names_the_permission(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.ecr().put(_image(), "team/app", "1")
    aws.ecr().quirks.denied_actions.add("ecr:GetAuthorizationToken")

    response = aws_function.create(f"{HOST}/team/app:1", DESTINATION)

    assert response["Reason"].startswith(
        "authentication failed for ECR in eu-west-1, the source: ecr:GetAuthorizationToken failed: "
        "access denied (AccessDeniedException: "
    )
    assert "). Allow ecr:GetAuthorizationToken on *." in response["Reason"]


def test_both_endpoints_in_one_region_share_a_token(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.ecr().put(_image(), "team/app", "1")
    aws.ecr().create_repository("mirror/app")

    response = aws_function.create(f"{HOST}/team/app:1", DESTINATION)

    assert response["Status"] == "SUCCESS", response["Reason"]
    operations = [call.operation for call in aws.ecr().calls]
    assert operations.count("GetAuthorizationToken") == 1


def test_a_throttled_token_request_is_retried(aws: LoopbackAws, aws_function: Function) -> None:
    aws.ecr().put(_image(), "team/app", "1")
    aws.ecr().create_repository("mirror/app")
    aws.ecr().quirks.throttled_actions["ecr:GetAuthorizationToken"] = 1

    response = aws_function.create(f"{HOST}/team/app:1", DESTINATION)

    assert response["Status"] == "SUCCESS", response["Reason"]


def test_ecr_public_is_accessed_with_a_token_if_allowed(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.public_ecr.put(_image(), "docker/library/nginx", "1")
    aws.public_ecr.anonymous_pulls_per_second = 0.001
    aws.ecr().create_repository("mirror/app")

    for tag in ("1.0", "1.1", "1.2"):
        response = aws_function.create(
            "public.ecr.aws/docker/library/nginx:1", f"{HOST}/mirror/app:{tag}"
        )
        assert response["Status"] == "SUCCESS", response["Reason"]

    assert len(aws.requests_to("api.ecr-public.us-east-1.amazonaws.com")) == 1


def test_ecr_public_is_accessed_anonymously_if_the_token_is_denied(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.public_ecr.put(_image(), "docker/library/nginx", "1")
    aws.public_ecr.denied_actions.add("sts:GetServiceBearerToken")
    aws.ecr().create_repository("mirror/app")

    for tag in ("1.0", "1.1"):
        response = aws_function.create(
            "public.ecr.aws/docker/library/nginx:1", f"{HOST}/mirror/app:{tag}"
        )
        assert response["Status"] == "SUCCESS", response["Reason"]

    assert len(aws.requests_to("api.ecr-public.us-east-1.amazonaws.com")) == 1


def test_ecr_public_is_accessed_anonymously_if_the_cached_token_has_expired(
    aws: LoopbackAws, aws_function: Function
) -> None:
    for name in ("nginx", "redis"):
        aws.public_ecr.put(_image(), f"docker/library/{name}", "1")
    aws.ecr().create_repository("mirror/app")
    first = aws_function.create("public.ecr.aws/docker/library/nginx:1", DESTINATION)
    assert first["Status"] == "SUCCESS", first["Reason"]
    aws.clear_requests()

    aws.public_ecr.tokens.expire_all()
    response = aws_function.create(
        "public.ecr.aws/docker/library/redis:1", f"{HOST}/mirror/app:1.1"
    )

    assert response["Status"] == "SUCCESS", response["Reason"]
    tokens = [each for each in aws.requests_to("public.ecr.aws") if "/token/" in each.path]
    assert [each.status for each in tokens] == [403, 200]


def test_docker_hubs_pull_rate_limit_is_logged_and_reported(
    aws: LoopbackAws, aws_function: Function, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ecr_image_replicator")
    aws.docker_hub.put(_image(), "library/nginx", "1")
    second = build_image([build_layer(5000, seed=2)])
    aws.docker_hub.put(second, "library/nginx", "2")
    aws.docker_hub.pull_limit = 1
    aws.ecr().create_repository("mirror/app")
    assert aws_function.create("nginx:1", DESTINATION)["Status"] == "SUCCESS"
    logged = [record for record in caplog.records if record.message == "pull limit"]
    assert [vars(record)["pulls_remaining"] for record in logged] == [1, 0]

    response = aws_function.create("nginx:2", DESTINATION)

    assert response["Reason"].startswith(
        f"cannot pull docker.io/library/nginx@{second.digest}: pull rate limit exceeded (429 Too "
        "Many Requests, TOOMANYREQUESTS: "
    ), response["Reason"]
    assert response["Reason"].startswith(
        ": 0 of 1 pulls per 6 hours left. Set SrcCreds to raise the limit, or wait up to 6 hours; "
        "official images are also at public.ecr.aws/docker/library.",
        response["Reason"].index(": 0 of 1"),
    ), response["Reason"]


def test_an_image_is_pushed_to_ecr_public(aws: LoopbackAws, aws_function: Function) -> None:
    image = _image()
    aws.docker_hub.put(image, "library/nginx", "1")
    aws.public_ecr.owners["a1b2c3d4"] = "123456789012"
    aws.public_ecr.store.create_repository("a1b2c3d4/app")

    response = aws_function.create("nginx:1", "public.ecr.aws/a1b2c3d4/app:1.0")

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert aws.public_ecr.store.tags("a1b2c3d4/app") == {"1.0": image.digest}


def test_the_message_names_a_missing_ecr_public_repository(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1")
    aws.public_ecr.owners["a1b2c3d4"] = "123456789012"

    response = aws_function.create("nginx:1", "public.ecr.aws/a1b2c3d4/app:1.0")

    assert response["Reason"].startswith(
        "cannot push public.ecr.aws/a1b2c3d4/app:1.0: ECR repository a1b2c3d4/app does not exist "
        "in ECR Public. Create it."
    ), response["Reason"]
