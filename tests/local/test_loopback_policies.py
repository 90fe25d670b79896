"""The evaluator of IAM policies, by the rules of the IAM User Guide."""

from __future__ import annotations

from typing import Any

import pytest
from local.permissions import (
    Decision,
    IdentityPolicies,
    Permission,
    UnsupportedPolicyError,
    evaluate,
)

REPOSITORY = "arn:aws:ecr:eu-west-1:123456789012:repository/team/app"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:replicator"


def policy(effect: str = "Allow", **elements: Any) -> dict[str, Any]:
    statement = {"Effect": effect, "Action": "*", "Resource": "*", **elements}
    return {"Version": "2012-10-17", "Statement": [statement]}


def decide(
    *policies: dict[str, Any],
    action: str = "ecr:PutImage",
    resource: str = REPOSITORY,
    **context: str,
) -> Decision:
    return evaluate(policies, Permission(action, resource, context))


def test_nothing_is_allowed_without_a_statement() -> None:
    assert decide() is Decision.NOT_ALLOWED


def test_an_explicit_deny_wins_in_any_order() -> None:
    deny = policy("Deny", Action="ecr:Put*")

    assert decide(policy(), deny) is Decision.DENIED
    assert decide(deny, policy()) is Decision.DENIED
    assert decide(policy(), deny, action="ecr:BatchGetImage") is Decision.ALLOWED


@pytest.mark.parametrize(
    ("elements", "is_allowed"),
    [
        ({"Action": "ecr:PutImage"}, True),
        ({"Action": "ECR:putimage"}, True),
        ({"Action": ["s3:*", "ecr:Put*"]}, True),
        ({"Action": "ecr:PutImag?"}, True),
        ({"Action": "ecr:Put"}, False),
        ({"Resource": REPOSITORY}, True),
        ({"Resource": "arn:aws:ecr:*:123456789012:repository/team/*"}, True),
        ({"Resource": "arn:aws:ecr:*:123456789012:repository/TEAM/*"}, False),
        ({"Resource": [f"{REPOSITORY}-other"]}, False),
        ({"Resource": "arn:aws:ecr:*:*:repository/team/a.p"}, False),
    ],
)
def test_actions_and_resources_match_by_wildcards(
    elements: dict[str, Any], is_allowed: bool
) -> None:
    assert (decide(policy(**elements)) is Decision.ALLOWED) is is_allowed


def test_not_action_and_not_resource_match_all_others() -> None:
    other_actions = {"Statement": {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}}
    other_resources = {"Statement": {"Effect": "Allow", "Action": "*", "NotResource": REPOSITORY}}

    assert decide(other_actions) is Decision.ALLOWED
    assert decide(other_actions, action="iam:CreateRole") is Decision.NOT_ALLOWED
    assert decide(other_resources) is Decision.NOT_ALLOWED
    assert decide(other_resources, resource=KEY) is Decision.ALLOWED


@pytest.mark.parametrize(
    ("condition", "context", "is_allowed"),
    [
        ({"StringEquals": {"a:b": "x"}}, {"a:b": "x"}, True),
        ({"StringEquals": {"A:B": ["w", "x"]}}, {"a:b": "x"}, True),
        ({"StringEquals": {"a:b": "x*"}}, {"a:b": "xy"}, False),
        ({"StringEquals": {"a:b": "x"}}, {}, False),
        ({"StringEqualsIfExists": {"a:b": "x"}}, {}, True),
        ({"StringNotEquals": {"a:b": ["x", "y"]}}, {"a:b": "y"}, False),
        ({"StringNotEquals": {"a:b": "x"}}, {}, True),
        ({"StringLike": {"a:b": "secretsmanager.*.amazonaws.com"}}, {"a:b": "s3.x.y"}, False),
        ({"StringNotLike": {"a:b": "x*"}}, {"a:b": "xy"}, False),
        ({"ArnLike": {"a:b": "arn:aws:lambda:*:123456789012:function:*"}}, {"a:b": FUNCTION}, True),
        ({"ArnLike": {"a:b": "arn:aws:*:function:replicator"}}, {"a:b": FUNCTION}, False),
        ({"ArnEquals": {"a:b": FUNCTION}}, {"a:b": FUNCTION}, True),
        ({"ArnNotEquals": {"a:b": FUNCTION}}, {"a:b": FUNCTION}, False),
        ({"Bool": {"aws:SecureTransport": "true"}}, {"aws:SecureTransport": "true"}, True),
        ({"Bool": {"aws:SecureTransport": True}}, {"aws:SecureTransport": "false"}, False),
        ({"Null": {"a:b": "true"}}, {}, True),
        ({"Null": {"a:b": "true"}}, {"a:b": "x"}, False),
        ({"StringEquals": {"a:b": "x", "c:d": "y"}}, {"a:b": "x"}, False),
        ({"StringEquals": {"a:b": "x"}, "StringLike": {"c:d": "*"}}, {"a:b": "x"}, False),
    ],
)
def test_conditions_narrow_a_statement(
    condition: dict[str, Any], context: dict[str, str], is_allowed: bool
) -> None:
    decision = evaluate([policy(Condition=condition)], Permission("x:Y", "*", context))

    assert (decision is Decision.ALLOWED) is is_allowed


@pytest.mark.parametrize(
    "elements",
    [
        {"Principal": "*"},
        {"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
        {"Condition": {"ForAllValues:StringEquals": {"a:b": "x"}}},
        {"Resource": "arn:aws:s3:::${aws:username}"},
        {"NotAction": "*"},
        {"Effect": "Maybe"},
    ],
)
def test_unsupported_policy_elements_are_errors(elements: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedPolicyError):
        decide(policy(**elements))


def test_policies_apply_to_a_role_and_its_sessions() -> None:
    policies = IdentityPolicies()
    role = "arn:aws:iam::123456789012:role/path/replicator"
    policies.attach(role, [policy(Action="ecr:PutImage")])
    session = "arn:aws:sts::123456789012:assumed-role/replicator/one"
    other = "arn:aws:sts::123456789012:assumed-role/other/one"
    read = Permission("ecr:BatchGetImage", REPOSITORY)

    assert policies.decide(session, Permission("ecr:PutImage", REPOSITORY)) is Decision.ALLOWED
    assert policies.decide(session, read) is Decision.NOT_ALLOWED
    assert policies.decide(role, read) is Decision.NOT_ALLOWED
    assert policies.decide(other, read) is Decision.ALLOWED


def test_the_context_of_a_role_applies_to_its_requests() -> None:
    policies = IdentityPolicies()
    role = "arn:aws:iam::123456789012:role/replicator"
    condition = {"ArnEquals": {"lambda:SourceFunctionArn": FUNCTION}}
    deny = policy("Deny", Action="ec2:*", Condition=condition)
    request = Permission("ec2:DescribeSubnets", "*")

    policies.attach(role, [policy(), deny])
    assert policies.decide(role, request) is Decision.ALLOWED
    policies.attach(role, [policy(), deny], {"lambda:SourceFunctionArn": FUNCTION})
    assert policies.decide(role, request) is Decision.DENIED
