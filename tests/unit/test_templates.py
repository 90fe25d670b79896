"""The templates' parameter patterns, and the access that organization.yaml grants."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
from tests.examples.resolver import load_template

ROOT: Final = Path(__file__).parents[2]
TEMPLATE: Final[dict[str, Any]] = load_template(ROOT / "template.yaml")
ORGANIZATION: Final[dict[str, Any]] = load_template(ROOT / "organization.yaml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AlarmTopic", "operators"),
        ("CaBundleLayer", "arn:aws:lambda:eu-west-1:123456789012:layer:authorities"),
        ("DestinationRepositories", "mirror/*"),
        ("DestinationRepositories", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror"),
        ("EnvironmentKey", "alias/logs"),
        ("HttpsProxy", "proxy.internal:3128"),
        ("HttpsProxy", "http://proxy.internal:3128/a path"),
        ("LogKey", "1234abcd-12ab-34cd-56ef-1234567890ab"),
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
def test_the_patterns_of_organization_accept_only_their_kind(
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
