from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from local.aws import DEFAULT_ACCOUNT, LoopbackAws
from local.images import build_image, build_index, build_layer
from local.web import Response
from tests.local.ecr_client import REPOSITORY, password_of, small_image
from tests.local.wire_client import WireClient

ClientFactory = Callable[[str], WireClient]
Skopeo = Callable[..., str]
REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
OTHER_REGISTRY = "999999999999.dkr.ecr.us-east-1.amazonaws.com"
ROLE = "arn:aws:iam::999999999999:role/reader"
BUCKET = {"Bucket": "archives", "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}


@pytest.fixture
def session(aws: LoopbackAws, monkeypatch: pytest.MonkeyPatch) -> boto3.session.Session:
    """A session that is configured by environment variables alone."""
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    return boto3.session.Session()


def code_of(call: Callable[..., object], **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Code"])


def test_boto3_finds_proxy_and_credentials_in_environment_variables(
    aws: LoopbackAws, session: boto3.session.Session
) -> None:
    assert session.client("sts").get_caller_identity()["Account"] == DEFAULT_ACCOUNT
    assert session.client("ecr").describe_repositories()["repositories"] == []
    hosts = ["sts.eu-west-1.amazonaws.com", "api.ecr.eu-west-1.amazonaws.com"]
    assert [tunnel.host for tunnel in aws.tunnels] == hosts
    assert [entry.host for entry in aws.requests] == hosts


def test_skopeo_copies_from_docker_hub_to_ecr_and_across_accounts_and_regions(
    aws: LoopbackAws, skopeo: Skopeo
) -> None:
    index = build_index([build_image([build_layer(100_000, seed)]) for seed in range(2)])
    aws.docker_hub.put(index, "library/nginx", "1.27")
    aws.ecr().create_repository(REPOSITORY)
    aws.ecr("999999999999", "us-east-1").create_repository("copy")
    here = f"AWS:{password_of(aws.authorization())}"
    there = f"AWS:{password_of(aws.authorization('999999999999', 'us-east-1'))}"
    copy = ("copy", "--all", "--preserve-digests")
    environment = aws.environment
    skopeo(
        *(*copy, "--dest-creds", here),
        *("docker://docker.io/library/nginx:1.27", f"docker://{REGISTRY}/{REPOSITORY}:1"),
        **environment,
    )
    assert aws.ecr().store.tags(REPOSITORY) == {"1": index.digest}
    skopeo(
        *(*copy, "--src-creds", here, "--dest-creds", there),
        *(f"docker://{REGISTRY}/{REPOSITORY}:1", f"docker://{OTHER_REGISTRY}/copy:2"),
        **environment,
    )
    copied = aws.ecr("999999999999", "us-east-1").store
    assert copied.tags("copy") == {"2": index.digest}
    assert copied.blobs("copy") == set(index.blobs)
    assert {tunnel.status for tunnel in aws.tunnels} == {200}


def test_skopeo_pulls_from_ecr_public_without_credentials(aws: LoopbackAws, skopeo: Skopeo) -> None:
    image = small_image()
    aws.public_ecr.put(image, "docker/library/nginx", "1")
    raw = skopeo(
        "inspect", "--raw", "docker://public.ecr.aws/docker/library/nginx:1", **aws.environment
    )
    assert raw.encode() == image.manifest


def test_secrets_manager_errors_of_missing_and_denied_secrets(aws: LoopbackAws) -> None:
    secrets = aws.client("secretsmanager")
    arn = secrets.create_secret(Name="hub", SecretString="user:password")["ARN"]
    for name in ("hub", arn):
        assert secrets.get_secret_value(SecretId=name)["SecretString"] == "user:password"
    assert code_of(secrets.get_secret_value, SecretId="no") == "ResourceNotFoundException"
    elsewhere = aws.client("secretsmanager", region="us-east-1")
    assert code_of(elsewhere.get_secret_value, SecretId="hub") == "ResourceNotFoundException"
    aws.services.denied_actions.add("secretsmanager:GetSecretValue")
    with pytest.raises(ClientError, match="not authorized to perform: secretsmanager:GetSecretV"):
        secrets.get_secret_value(SecretId="hub")
    lookups = [call for call in aws.services.calls if call.action.endswith("GetSecretValue")]
    assert [call.parameters["SecretId"] for call in lookups] == ["hub", arn, "no", "hub", "hub"]


def test_only_roles_that_were_added_are_assumed_with_the_right_external_id(
    aws: LoopbackAws,
) -> None:
    sts = aws.client("sts")
    wanted: dict[str, Any] = {"RoleArn": ROLE, "RoleSessionName": "a-name"}
    assert code_of(sts.assume_role, **wanted) == "AccessDenied"
    aws.add_role(ROLE, external_id="7f3a")
    assert code_of(sts.assume_role, **wanted) == "AccessDenied"
    assert code_of(sts.assume_role, **wanted, ExternalId="other") == "AccessDenied"
    assumed = sts.assume_role(**wanted, ExternalId="7f3a")["AssumedRoleUser"]["Arn"]
    assert assumed == "arn:aws:sts::999999999999:assumed-role/reader/a-name"
    assert aws.services.calls[-1].parameters["RoleSessionName"] == "a-name"
    as_role = aws.client("sts", role=ROLE)
    assert as_role.get_caller_identity()["Account"] == "999999999999"


@pytest.mark.parametrize("key", ["a/b.tar", "a b/c:1.tar.gz", "ü+%&.tar"])
def test_s3_objects_support_put_head_and_ranged_get(aws: LoopbackAws, key: str) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(**BUCKET)
    content = bytes(range(256)) * 4096
    s3.put_object(Bucket="archives", Key=key, Body=content)
    head = s3.head_object(Bucket="archives", Key=key)
    assert head["ContentLength"] == len(content)
    part = s3.get_object(Bucket="archives", Key=key, Range="bytes=1000-1999")
    assert part["ContentRange"] == f"bytes 1000-1999/{len(content)}"
    assert part["Body"].read() == content[1000:2000]
    assert s3.get_object(Bucket="archives", Key=key)["Body"].read() == content
    host = "archives.s3.eu-west-1.amazonaws.com"
    assert {entry.host for entry in aws.requests_to(host)} == {host}
    assert [call.action for call in aws.services.calls] == [
        "s3:CreateBucket",
        "s3:PutObject",
        "s3:GetObject",
        "s3:GetObject",
        "s3:GetObject",
    ]
    assert aws.services.calls[-1].parameters == {"Bucket": "archives", "Key": key}


def test_s3_errors_of_missing_and_denied_objects(aws: LoopbackAws) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(**BUCKET)
    assert code_of(s3.get_object, Bucket="archives", Key="no") == "NoSuchKey"
    assert code_of(s3.get_object, Bucket="no-bucket", Key="no") == "NoSuchBucket"
    aws.services.denied_actions.add("s3:GetObject")
    assert code_of(s3.get_object, Bucket="archives", Key="no") == "AccessDenied"
    assert code_of(s3.head_object, Bucket="archives", Key="no") == "403"


def test_kms_signs_and_denies_get_public_key(aws: LoopbackAws) -> None:
    kms = aws.client("kms")
    key = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["Arn"]
    algorithm = {"KeyId": key, "SigningAlgorithm": "ECDSA_SHA_256", "MessageType": "RAW"}
    signature = kms.sign(Message=b"text", **algorithm)["Signature"]
    assert kms.verify(Message=b"text", Signature=signature, **algorithm)["SignatureValid"]
    aws.services.denied_actions.add("kms:GetPublicKey")
    assert code_of(kms.get_public_key, KeyId=key) == "AccessDeniedException"


def test_services_start_empty(aws: LoopbackAws) -> None:
    aws.client("secretsmanager").create_secret(Name="hub", SecretString="x")
    with LoopbackAws() as another:
        secrets = another.client("secretsmanager")
        assert secrets.list_secrets()["SecretList"] == []


def test_add_host_serves_another_host(aws: LoopbackAws, client_for: ClientFactory) -> None:
    aws.add_host("ghcr.example", lambda request: Response(200, {}, request.origin.encode()))
    assert client_for("ghcr.example").send("GET", "/").body == b"https://ghcr.example"


def test_requests_are_logged_by_registry_and_can_be_cleared(
    aws: LoopbackAws, client_for: ClientFactory
) -> None:
    client_for(REGISTRY).send("GET", "/v2/")
    client_for("123456789012.dkr-ecr.eu-west-1.on.aws").send("GET", "/v2/")
    client_for(OTHER_REGISTRY).send("GET", "/v2/")
    aws.client("ecr").get_authorization_token()
    assert len(aws.requests) == 4
    assert len(aws.requests_to(aws.ecr())) == 2
    assert len(aws.requests_to(OTHER_REGISTRY, "api.ecr.eu-west-1.amazonaws.com")) == 2
    assert aws.ecr().operations == ["GetAuthorizationToken"]
    aws.clear_requests()
    for log in (aws.requests, aws.tunnels, aws.ecr().calls, aws.services.calls):
        assert not log
    assert aws.ecr().used_actions == frozenset()


def test_no_call_log_shows_a_secret_key(aws: LoopbackAws) -> None:
    aws.client("sts", role=ROLE).get_caller_identity()
    assert aws.environment["AWS_SECRET_ACCESS_KEY"] not in json.dumps(
        [call.parameters for call in aws.services.calls]
    )
