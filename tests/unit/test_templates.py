"""The templates' parameter patterns, and the access that organization.yaml grants."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
from tests.examples.resolver import load_template

ROOT: Final = Path(__file__).parents[2]
TEMPLATE: Final[dict[str, Any]] = load_template(ROOT / "template.yaml")
MONITORING: Final[dict[str, Any]] = load_template(ROOT / "monitoring.yaml")
#: SAM asks for each of them in `sam deploy --guided`.
PARAMETERS: Final = {
    *("DestinationRepositories", "SourceRepositories", "CreatableRepositories"),
    *("UntaggableRepositories", "Archives", "Secrets", "Roles", "KmsKeys"),
    *("AllowedSourceHosts", "AllowedDestinations", "DefaultPlatforms", "PlainHttpRegistries"),
    *("Architecture", "MemorySize", "Timeout"),
    *("SubnetIds", "SecurityGroupIds", "HttpsProxy", "NoProxy", "CaBundleLayer"),
    *("EncryptionKey", "LogLevel", "LogRetentionDays", "MirrorBucket"),
}
ORGANIZATION: Final[dict[str, Any]] = load_template(ROOT / "organization.yaml")


def test_all_24_parameters_have_a_default_that_sam_shows() -> None:
    parameters = TEMPLATE["Parameters"]
    assert parameters.keys() == PARAMETERS
    assert len(PARAMETERS) == 24
    for name, parameter in parameters.items():
        assert "Default" in parameter, name
        assert "NoEcho" not in parameter, name
        pattern = parameter.get("AllowedPattern", ".*")
        assert re.fullmatch(pattern, str(parameter["Default"])), name


def test_the_template_has_no_serverless_repo_metadata() -> None:
    assert "AWS::ServerlessRepo::Application" not in TEMPLATE["Metadata"]


@pytest.mark.parametrize(
    "value",
    [
        "http://proxy.internal:3128",
        "https://proxy.internal:3128/",
        "{{resolve:secretsmanager:proxy:SecretString:url}}",
        "http://{{resolve:secretsmanager:team/proxy:SecretString:login}}@proxy.internal:3128",
    ],
)
def test_a_proxy_may_be_a_secrets_manager_reference(value: str) -> None:
    assert re.fullmatch(TEMPLATE["Parameters"]["HttpsProxy"]["AllowedPattern"], value)


@pytest.mark.parametrize(
    "name", ["hub-AbCdEf", "hub-??????", "team/hub-*", "events!connection/hub-*"]
)
def test_secrets_are_named_as_in_iam_policies(name: str) -> None:
    pattern = TEMPLATE["Parameters"]["Secrets"]["AllowedPattern"]
    assert re.fullmatch(pattern, f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:{name}")


def test_monitoring_imports_only_what_the_template_exports() -> None:
    imported = set(re.findall(r"\$\{ReplicatorStack\}-(\w+)", str(MONITORING)))
    exported = {
        each["Export"]["Name"]["Fn::Sub"].partition("-")[2] for each in TEMPLATE["Outputs"].values()
    }
    assert imported
    assert imported <= exported


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Archives", "s3://builds/app.tar"),
        ("CaBundleLayer", "arn:aws:lambda:eu-west-1:123456789012:layer:authorities"),
        ("DestinationRepositories", "mirror/*"),
        ("DestinationRepositories", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror"),
        ("EncryptionKey", "alias/logs"),
        ("HttpsProxy", "proxy.internal:3128"),
        ("HttpsProxy", "http://proxy.internal:3128/a path"),
        ("KmsKeys", "arn:aws:kms:eu-west-1:123456789012:alias/images"),
        ("MirrorBucket", "arn:aws:s3:::mirrors"),
        ("NoProxy", "one two"),
        ("Secrets", "hub"),
        ("SecurityGroupIds", "subnet-12345678"),
        ("SubnetIds", "sg-12345678"),
        ("SubnetIds", "vpc-12345678"),
    ],
)
def test_patterns_reject_invalid_values(name: str, value: str) -> None:
    parameter = TEMPLATE["Parameters"][name]
    assert not re.fullmatch(parameter["AllowedPattern"], value)
    assert parameter["ConstraintDescription"].startswith("must be ")


@pytest.mark.parametrize(
    ("name", "value", "is_valid"),
    [
        ("OrganizationId", "o-exampleorgid", True),
        ("OrganizationId", "r-ab12", False),
        ("OrganizationId", "123456789012", False),
        ("ServiceToken", "arn:aws:lambda:eu-west-1:123456789012:function:replicator", True),
        ("ServiceToken", "arn:aws:lambda:eu-west-1:123456789012:function:replicator:live", False),
        ("TopicKey", "", True),
        ("TopicKey", "alias/topic", False),
    ],
)
def test_patterns_of_the_organization_template_accept_only_valid_values(
    name: str, value: str, *, is_valid: bool
) -> None:
    pattern = ORGANIZATION["Parameters"][name]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, value)) is is_valid


def test_only_the_organization_may_publish_to_the_topic() -> None:
    policy = ORGANIZATION["Resources"]["RequestTopicPolicy"]["Properties"]["PolicyDocument"]
    allowed, denied = policy["Statement"]
    assert (allowed["Effect"], denied["Effect"]) == ("Allow", "Deny")
    for statement in (allowed, denied):
        assert statement["Action"] == "sns:Publish"
        assert statement["Resource"] == {"Ref": "RequestTopic"}
    assert allowed["Condition"] == {
        "StringEquals": {"aws:PrincipalOrgID": {"Ref": "OrganizationId"}}
    }
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_only_the_topic_may_invoke_the_function() -> None:
    resources = ORGANIZATION["Resources"]
    permission = resources["RequestPermission"]["Properties"]
    subscription = resources["RequestSubscription"]["Properties"]
    assert permission["Principal"] == "sns.amazonaws.com"
    assert permission["SourceArn"] == subscription["TopicArn"] == {"Ref": "RequestTopic"}
    assert permission["FunctionName"] == subscription["Endpoint"] == {"Ref": "ServiceToken"}
    assert ORGANIZATION["Outputs"]["ServiceToken"]["Value"] == {"Ref": "RequestTopic"}
