"""Denied calls and evaluated role policies in the loopback AWS."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from local.aws import LoopbackAws
from local.images import build_image, build_layer
from tests.local.ecr_api import code_of
from tests.local.ecr_client import REPOSITORY, EcrClient, small_image
from tests.local.wire_client import WireClient

ClientFactory = Callable[[str], WireClient]
ROLE = "arn:aws:iam::123456789012:role/replicator"
REPOSITORY_ARN = f"arn:aws:ecr:eu-west-1:123456789012:repository/{REPOSITORY}"
BUCKET = {"Bucket": "archives", "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
NO_RETRIES = Config(retries={"total_max_attempts": 1})


def allow(action: str, resource: str = "*", **condition: Any) -> dict[str, Any]:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": action, "Resource": resource}
    if condition:
        statement["Condition"] = condition
    return {"Version": "2012-10-17", "Statement": [statement]}


def client_of(environment: Mapping[str, str], service: str) -> Any:
    session: Any = boto3.session.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=environment["AWS_SESSION_TOKEN"],
        region_name=environment["AWS_REGION"],
    )
    config = NO_RETRIES.merge(Config(proxies={"https": environment["HTTPS_PROXY"]}))
    return session.client(service, verify=environment["AWS_CA_BUNDLE"], config=config)


def test_the_configured_number_of_calls_is_denied(aws: LoopbackAws) -> None:
    secrets = aws.client("secretsmanager")
    secrets.create_secret(Name="hub", SecretString="x")
    aws.services.denials.next_calls["secretsmanager:GetSecretValue"] = 2
    for _ in range(2):
        assert code_of(secrets.get_secret_value, SecretId="hub") == "AccessDeniedException"
    assert secrets.get_secret_value(SecretId="hub")["SecretString"] == "x"


def test_the_configured_number_of_ecr_calls_is_denied(aws: LoopbackAws) -> None:
    ecr = aws.client("ecr")
    aws.ecr().quirks.denials.next_calls["ecr:GetAuthorizationToken"] = 1
    assert code_of(ecr.get_authorization_token) == "AccessDeniedException"
    assert ecr.get_authorization_token()["authorizationData"]


def test_an_explicit_deny_is_in_the_error_message(aws: LoopbackAws) -> None:
    aws.services.denials.explicit.add("secretsmanager:ListSecrets")
    aws.ecr().quirks.denials.explicit.add("ecr:GetAuthorizationToken")
    for call in (
        aws.client("secretsmanager").list_secrets,
        aws.client("ecr").get_authorization_token,
    ):
        with pytest.raises(ClientError, match="with an explicit deny in an identity-based policy"):
            call()


def test_role_policies_are_evaluated_for_ecr_calls(aws: LoopbackAws) -> None:
    aws.ecr().put(small_image(), REPOSITORY, "1")
    aws.ecr().put(small_image(), "other", "1")
    role = aws.environment_of(ROLE, [allow("ecr:DescribeImages", REPOSITORY_ARN)])
    ecr = client_of(role, "ecr")

    assert ecr.describe_images(repositoryName=REPOSITORY)["imageDetails"]
    with pytest.raises(ClientError, match="no identity-based policy allows the ecr:DescribeIm"):
        ecr.describe_images(repositoryName="other")
    assert code_of(ecr.list_images, repositoryName=REPOSITORY) == "AccessDeniedException"


def test_a_repository_policy_allows_a_role_of_its_own_account(aws: LoopbackAws) -> None:
    aws.ecr().put(small_image(), REPOSITORY, "1")
    statement = {"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "ecr:ListImages"}
    aws.ecr().change_repository(REPOSITORY, policy=json.dumps({"Statement": [statement]}))
    ecr = client_of(aws.environment_of(ROLE, []), "ecr")

    assert ecr.list_images(repositoryName=REPOSITORY)["imageIds"]
    assert code_of(ecr.describe_images, repositoryName=REPOSITORY) == "AccessDeniedException"


def test_creating_a_repository_with_tags_and_a_kms_key_requires_their_permissions(
    aws: LoopbackAws,
) -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/1234"
    wanted: dict[str, Any] = {
        "repositoryName": REPOSITORY,
        "tags": [{"Key": "team", "Value": "a"}],
        "encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": key},
    }
    granted = [allow("ecr:CreateRepository", REPOSITORY_ARN)]
    via = {"StringLike": {"kms:ViaService": "ecr.*.amazonaws.com"}}
    for missing, policy in (
        ("ecr:TagResource", allow("ecr:TagResource", REPOSITORY_ARN)),
        ("kms:DescribeKey", allow("kms:DescribeKey", key, **via)),
        ("kms:CreateGrant", allow("kms:CreateGrant", key, **via)),
    ):
        ecr = client_of(aws.environment_of(ROLE, granted), "ecr")
        with pytest.raises(ClientError, match=f"not authorized to perform: {missing}"):
            ecr.create_repository(**wanted)
        granted.append(policy)
    ecr = client_of(aws.environment_of(ROLE, granted), "ecr")
    assert ecr.create_repository(**wanted)["repository"]["repositoryArn"] == REPOSITORY_ARN


def test_a_secret_with_a_customer_managed_key_requires_kms_decrypt(
    aws: LoopbackAws,
) -> None:
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    secrets = aws.client("secretsmanager")
    plain = secrets.create_secret(Name="plain", SecretString="x")["ARN"]
    secret = secrets.create_secret(Name="hub", SecretString="x", KmsKeyId=key)["ARN"]
    read = allow("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:*:secret:*-??????")
    via = "secretsmanager.*.amazonaws.com"

    def code(*policies: dict[str, Any], name: str = secret) -> str:
        client = client_of(aws.environment_of(ROLE, policies), "secretsmanager")
        return code_of(client.get_secret_value, SecretId=name)

    assert code() == "AccessDeniedException"
    assert code(read) == "AccessDeniedException"
    wrong = allow("kms:Decrypt", key, StringLike={"kms:ViaService": "s3.*.amazonaws.com"})
    assert code(read, wrong) == "AccessDeniedException"
    role = aws.environment_of(
        ROLE, [read, allow("kms:Decrypt", key, StringLike={"kms:ViaService": via})]
    )
    client = client_of(role, "secretsmanager")
    assert client.get_secret_value(SecretId=secret)["SecretString"] == "x"
    assert client.get_secret_value(SecretId=plain)["SecretString"] == "x"


def test_a_missing_object_returns_access_denied_without_list_permission(aws: LoopbackAws) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(**BUCKET)
    s3.put_object(Bucket="archives", Key="images/a.tar", Body=b"x")
    read = allow("s3:GetObject", "arn:aws:s3:::archives/images/*")
    client = client_of(aws.environment_of(ROLE, [read]), "s3")

    assert client.get_object(Bucket="archives", Key="images/a.tar")["Body"].read() == b"x"
    assert code_of(client.get_object, Bucket="archives", Key="other/a.tar") == "AccessDenied"
    assert code_of(client.get_object, Bucket="archives", Key="images/no") == "AccessDenied"
    listing = allow("s3:ListBucket", "arn:aws:s3:::archives")
    client = client_of(aws.environment_of(ROLE, [read, listing]), "s3")
    assert code_of(client.get_object, Bucket="archives", Key="images/no") == "NoSuchKey"


def test_assume_role_requires_permission(aws: LoopbackAws) -> None:
    other = aws.add_role("arn:aws:iam::999999999999:role/reader")
    wanted = {"RoleArn": other, "RoleSessionName": "a-name"}
    sts = client_of(aws.environment_of(ROLE, []), "sts")

    assert sts.get_caller_identity()["Arn"].endswith("assumed-role/replicator/function")
    assert code_of(sts.assume_role, **wanted) == "AccessDenied"
    sts = client_of(aws.environment_of(ROLE, [allow("sts:AssumeRole", other)]), "sts")
    assert sts.assume_role(**wanted)["Credentials"]


def test_the_first_pull_through_a_cache_rule_requires_import_and_create_permissions(
    aws: LoopbackAws, client_for: ClientFactory
) -> None:
    image = build_image([build_layer(1000, 3)])
    aws.docker_hub.put(image, "library/nginx", "1")
    registry = aws.ecr()
    registry.quirks.pull_through = {"docker-hub/": aws.docker_hub.store}
    client = EcrClient(client_for(registry.host), aws.authorization(), "docker-hub/library/nginx")
    for action in ("ecr:BatchImportUpstreamImage", "ecr:CreateRepository"):
        registry.quirks.denials.next_calls[action] = 1
        denied = client.send("GET", "manifests/1")
        assert (denied.status, denied.error_code) == (403, "DENIED")
        assert f"to perform: {action}" in denied.error_message

    assert client.send("HEAD", "manifests/1").status == 404
    assert client.send("GET", "manifests/1").body == image.manifest
    registry.quirks.denied_actions.add("ecr:BatchImportUpstreamImage")
    assert client.send("GET", "manifests/1").body == image.manifest
    assert registry.store.blobs("docker-hub/library/nginx") == set(image.blobs)


def test_an_archived_image_is_not_found_until_it_is_pushed_again(
    aws: LoopbackAws, client_for: ClientFactory
) -> None:
    image = small_image()
    registry, ecr = aws.ecr(), aws.client("ecr")
    registry.put(image, REPOSITORY, "1")
    registry.quirks.archived.add(image.digest)
    client = EcrClient(client_for(registry.host), aws.authorization())
    layer = {"repositoryName": REPOSITORY, "layerDigests": [next(iter(image.blobs))]}

    missing = client.send("GET", "manifests/1")
    assert (missing.status, missing.error_code) == (404, "MANIFEST_UNKNOWN")
    details = ecr.describe_images(repositoryName=REPOSITORY)["imageDetails"]
    assert details[0]["imageStatus"] == "ARCHIVED"
    found = ecr.batch_check_layer_availability(**layer)["layers"][0]
    assert found["layerAvailability"] == "ARCHIVED"

    assert client.put_manifest(image, "1").status == 201
    assert client.send("GET", "manifests/1").body == image.manifest
