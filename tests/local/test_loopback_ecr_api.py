"""ECR's API called by boto3. Each response is validated against botocore's model."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import ClientError, EndpointProviderError
from botocore.session import get_session
from local.aws import LoopbackAws
from local.ecr import control_plane
from local.ecr.hosts import parse_api_host
from local.images import build_artifact, build_index
from local.registry.digests import digest_of
from tests.local.ecr_api import checked, code_of
from tests.local.ecr_client import REPOSITORY, repository_in, small_image
from tests.local.wire_client import WireClient

ClientFactory = Callable[[str], WireClient]
API_HOST = "api.ecr.eu-west-1.amazonaws.com"
REGISTRY_HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
ARN = f"arn:aws:ecr:eu-west-1:123456789012:repository/{REPOSITORY}"

LIFECYCLE = json.dumps(
    {
        "rules": [
            {
                "rulePriority": 1,
                "selection": {
                    "tagStatus": "untagged",
                    "countType": "sinceImagePushed",
                    "countUnit": "days",
                    "countNumber": 14,
                },
                "action": {"type": "expire"},
            }
        ]
    }
)


def test_each_operation_returns_what_its_model_defines(aws: LoopbackAws, ecr: Any) -> None:
    ecr.get_authorization_token(registryIds=["123456789012", "999999999999"])
    ecr.create_repository(
        repositoryName=REPOSITORY,
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "latest*"}],
        imageScanningConfiguration={"scanOnPush": True},
        encryptionConfiguration={"encryptionType": "KMS"},
        tags=[{"Key": "team", "Value": "a"}],
    )
    image = small_image()
    signature = build_artifact(
        "application/x-signature", [("text/plain", b"x")], subject=image, annotations={"by": "us"}
    )
    aws.ecr().put(build_index([image]), REPOSITORY, "1")
    aws.ecr().put(signature, REPOSITORY)
    ecr.describe_repositories(repositoryNames=[REPOSITORY])
    ecr.put_lifecycle_policy(repositoryName=REPOSITORY, lifecyclePolicyText=LIFECYCLE)
    ecr.set_repository_policy(repositoryName=REPOSITORY, policyText='{"Statement": [{}]}')
    ecr.tag_resource(resourceArn=ARN, tags=[{"Key": "more", "Value": "b"}])
    ecr.batch_check_layer_availability(
        repositoryName=REPOSITORY,
        layerDigests=[digest_of(image.config), digest_of(b"no"), "not-a-digest"],
    )
    ecr.batch_get_image(
        repositoryName=REPOSITORY, imageIds=[{"imageTag": "1"}, {"imageDigest": digest_of(b"no")}]
    )
    ecr.describe_images(repositoryName=REPOSITORY)
    ecr.list_images(repositoryName=REPOSITORY)
    ecr.list_image_referrers(repositoryName=REPOSITORY, subjectId={"imageDigest": image.digest})
    ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    ecr.get_account_setting(name="BLOB_MOUNTING")
    ecr.batch_delete_image(
        repositoryName=REPOSITORY, imageIds=[{"imageTag": "1"}, {"imageTag": "none"}]
    )
    assert set(aws.ecr().operations) == set(control_plane.OPERATIONS)
    assert [call.error for call in aws.ecr().calls] == [None] * len(control_plane.OPERATIONS)


def test_endpoint_patterns_match_every_endpoint_of_botocore() -> None:
    session = get_session()
    loader = session.get_component("data_loader")
    rules = loader.load_service_model("ecr", "endpoint-rule-set-1")
    partitions = loader.load_data("partitions")
    provider = EndpointProvider(rules, partitions)
    hosts: dict[str, str] = {}
    for partition in session.get_available_partitions():
        for region in session.get_available_regions("ecr", partition):
            for fips, dual_stack in itertools.product((False, True), repeat=2):
                with contextlib.suppress(
                    EndpointProviderError
                ):  # some partitions lack some endpoints
                    endpoint = provider.resolve_endpoint(
                        Region=region, UseFIPS=fips, UseDualStack=dual_stack
                    )
                    hosts[endpoint.url.removeprefix("https://")] = region
    assert len(hosts) > 100
    assert {host: parse_api_host(host) for host in hosts} == hosts


@pytest.mark.parametrize(
    "host",
    [
        "api.ecr.eu-west-1.amazonaws.com",
        "api.ecr-fips.eu-west-1.amazonaws.com",
        "ecr-fips.eu-west-1.amazonaws.com",
        "ecr.eu-west-1.api.aws",
        "ecr-fips.eu-west-1.api.aws",
    ],
)
def test_the_api_is_reachable_by_each_of_its_host_names(aws: LoopbackAws, host: str) -> None:
    client = aws.client("ecr", endpoint_url=f"https://{host}")
    assert client.describe_repositories()["repositories"] == []
    assert [entry.host for entry in aws.requests] == [host]


def test_a_repository_is_created_once(aws: LoopbackAws, ecr: Any) -> None:
    made = ecr.create_repository(repositoryName=REPOSITORY)["repository"]
    assert made["repositoryUri"] == f"{REGISTRY_HOST}/{REPOSITORY}"
    assert (made["repositoryArn"], made["imageTagMutability"]) == (ARN, "MUTABLE")
    again = code_of(ecr.create_repository, repositoryName=REPOSITORY)
    assert again == "RepositoryAlreadyExistsException"
    assert [each.name for each in aws.ecr().repositories] == [REPOSITORY]


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"repositoryName": "Upper"}, "InvalidParameterException"),
        ({"repositoryName": "x" * 257}, "InvalidParameterException"),
        ({"repositoryName": "a//b"}, "InvalidParameterException"),
        ({"imageTagMutability": "SOMETIMES"}, "InvalidParameterException"),
        ({"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"}, "InvalidParameterException"),
        (
            {"imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "a"}]},
            "InvalidParameterException",
        ),
        (
            {
                "imageTagMutability": "MUTABLE_WITH_EXCLUSION",
                "imageTagMutabilityExclusionFilters": [
                    {"filterType": "WILDCARD", "filter": f"v{number}"} for number in range(6)
                ],
            },
            "InvalidParameterException",
        ),
        (
            {"encryptionConfiguration": {"encryptionType": "AES256", "kmsKey": "k"}},
            "InvalidParameterException",
        ),
        ({"tags": [{"Key": "aws:x", "Value": ""}]}, "InvalidTagParameterException"),
        (
            {"tags": [{"Key": str(number), "Value": ""} for number in range(51)]},
            "TooManyTagsException",
        ),
    ],
)
def test_invalid_repository_settings_are_rejected(
    aws: LoopbackAws, ecr: Any, parameters: dict[str, Any], code: str
) -> None:
    assert code_of(ecr.create_repository, **{"repositoryName": REPOSITORY, **parameters}) == code
    assert aws.ecr().repositories == ()


def test_settings_of_a_repository_are_changed(aws: LoopbackAws, ecr: Any) -> None:
    aws.ecr().create_repository(REPOSITORY, tags=[{"Key": "a", "Value": "1"}])
    ecr.tag_resource(resourceArn=ARN, tags=[{"Key": "b", "Value": "2"}])
    ecr.put_lifecycle_policy(repositoryName=REPOSITORY, lifecyclePolicyText=LIFECYCLE)
    changed = aws.ecr().repository(REPOSITORY)
    assert changed.tags == {"a": "1", "b": "2"}
    assert changed.lifecycle_policy == LIFECYCLE
    for text in ("not json".ljust(100), "{}".ljust(100), '{"rules": []}'.ljust(100)):
        rejected = code_of(
            ecr.put_lifecycle_policy, repositoryName=REPOSITORY, lifecyclePolicyText=text
        )
        assert rejected == "InvalidParameterException"


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("batch_check_layer_availability", {"layerDigests": [digest_of(b"x")]}),
        ("batch_get_image", {"imageIds": [{"imageTag": "1"}]}),
        ("batch_delete_image", {"imageIds": [{"imageTag": "1"}]}),
        ("describe_images", {}),
        ("list_image_referrers", {"subjectId": {"imageDigest": digest_of(b"x")}}),
        ("put_lifecycle_policy", {"lifecyclePolicyText": LIFECYCLE}),
        ("set_repository_policy", {"policyText": '{"Statement": [{}]}'}),
    ],
)
def test_the_error_for_a_missing_repository_has_its_name(
    ecr: Any, operation: str, parameters: dict[str, Any]
) -> None:
    with pytest.raises(ecr.exceptions.RepositoryNotFoundException) as caught:
        getattr(ecr, operation)(repositoryName=REPOSITORY, **parameters)
    assert f"'{REPOSITORY}' does not exist in the registry with id '123456789012'" in str(
        caught.value
    )


def test_repositories_and_images_are_listed_in_pages(aws: LoopbackAws, ecr: Any) -> None:
    for number in range(5):
        aws.ecr().put(small_image(number), f"team/{number}", "1")
        aws.ecr().put(small_image(number), "team/all", str(number))
    pages = ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 2})
    counts = [len(each["repositories"]) for each in pages]
    assert counts == [2, 2, 2]
    images = ecr.get_paginator("describe_images").paginate(
        repositoryName="team/all", PaginationConfig={"PageSize": 4}
    )
    assert [len(each["imageDetails"]) for each in images] == [4, 1]
    assert code_of(ecr.describe_repositories, nextToken="no token") == "InvalidParameterException"
    assert code_of(ecr.describe_repositories, repositoryNames=["team/0", "no"]) == (
        "RepositoryNotFoundException"
    )


def test_each_account_has_separate_account_settings(aws: LoopbackAws, ecr: Any) -> None:
    assert ecr.get_account_setting(name="BLOB_MOUNTING")["value"] == "DISABLED"
    ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    assert ecr.get_account_setting(name="BLOB_MOUNTING")["value"] == "ENABLED"
    assert aws.ecr("999999999999").account_settings["BLOB_MOUNTING"] == "DISABLED"
    assert code_of(ecr.get_account_setting, name="OTHER") == "ValidationException"
    assert code_of(ecr.put_account_setting, name="BLOB_MOUNTING", value="YES") == (
        "InvalidParameterException"
    )


def test_denied_and_throttled_actions_return_their_errors(aws: LoopbackAws, ecr: Any) -> None:
    repository_in(aws.ecr())
    aws.ecr().quirks.throttled_actions["ecr:DescribeImages"] = 2
    for _ in range(2):
        assert code_of(ecr.describe_images, repositoryName=REPOSITORY) == "ThrottlingException"
    assert ecr.describe_images(repositoryName=REPOSITORY)["imageDetails"]
    aws.ecr().quirks.denied_actions.add("ecr:DescribeImages")
    with pytest.raises(ClientError, match="not authorized to perform: ecr:DescribeImages on res"):
        ecr.describe_images(repositoryName=REPOSITORY)
    errors = [call.error for call in aws.ecr().calls]
    assert errors == ["ThrottlingException"] * 2 + [None, "AccessDeniedException"]


def test_an_assumed_role_uses_the_roles_account(aws: LoopbackAws) -> None:
    role = aws.add_role("arn:aws:iam::999999999999:role/writer")
    client = checked(aws.client("ecr", role=role, region="us-east-1"))
    client.create_repository(repositoryName=REPOSITORY)
    registry = aws.ecr("999999999999", "us-east-1")
    assert [each.name for each in registry.repositories] == [REPOSITORY]
    assert registry.calls[0].caller.arn == "arn:aws:sts::999999999999:assumed-role/writer/seed"
    foreign = {"registryId": "999999999999", "repositoryName": REPOSITORY}
    own = checked(aws.client("ecr", region="us-east-1"))
    assert code_of(own.describe_images, **foreign) == "AccessDeniedException"


def test_calls_with_an_invalid_signature_are_rejected(
    aws: LoopbackAws, client_for: ClientFactory
) -> None:
    target = "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories"
    unsigned = client_for(API_HOST).send("POST", "/", b"{}", X_Amz_Target=target)
    assert unsigned.document["__type"] == "MissingAuthenticationTokenException"
    elsewhere = aws.client("ecr", region="us-east-1", endpoint_url=f"https://{API_HOST}")
    assert code_of(elsewhere.describe_repositories) == "InvalidSignatureException"
    scope = "20260101/eu-west-1/ecr/aws4_request"
    signature = f"AWS4-HMAC-SHA256 Credential=AKIANOBODY/{scope}, SignedHeaders=host, Signature=0"
    unknown = client_for(API_HOST).send(
        "POST", "/", b"{}", Authorization=signature, X_Amz_Target=target
    )
    assert unknown.document["__type"] == "UnrecognizedClientException"
    known = signature.replace("AKIANOBODY", aws.environment["AWS_ACCESS_KEY_ID"])
    for body in (b"not json", b"[]"):
        rejected = client_for(API_HOST).send(
            "POST", "/", body, Authorization=known, X_Amz_Target=target
        )
        assert rejected.document["__type"] == "SerializationException"


def test_an_unsupported_operation_is_unknown(aws: LoopbackAws) -> None:
    assert code_of(aws.client("ecr").describe_registry) == "UnknownOperationException"
