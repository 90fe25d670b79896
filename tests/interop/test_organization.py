"""organization.yaml, deployed to moto's CloudFormation with a function.

moto's CloudFormation does not support the types in `_UNKNOWN_TO_MOTO`. The tests pass their
properties to the API of SNS with the stack's topic.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.cloudformation.parsing import get_model_map
from tests.examples.resolver import load_template
from tests.interop.moto_account import ACCOUNT, REGION, MotoAccount, open_account

_UNKNOWN_TO_MOTO = {"AWS::SNS::Subscription", "AWS::SNS::TopicPolicy"}
_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"


@pytest.fixture(scope="module")
def account() -> Iterator[MotoAccount]:
    with open_account() as opened:
        yield opened


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return load_template(Path(__file__).parents[2] / "organization.yaml")


@pytest.fixture(scope="module")
def function(account: MotoAccount) -> str:
    """The ARN of a function, as in the ServiceToken output of template.yaml."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("app.py", "")
    trust = {"Version": "2012-10-17", "Statement": []}
    role = account.client("iam").create_role(
        RoleName="function", AssumeRolePolicyDocument=json.dumps(trust)
    )
    made = account.client("lambda").create_function(
        FunctionName="replicator",
        Runtime="python3.13",
        Handler="app.lambda_handler",
        Role=role["Role"]["Arn"],
        Code={"ZipFile": archive.getvalue()},
    )
    return str(made["FunctionArn"])


@pytest.fixture(scope="module")
def make_topic(account: MotoAccount, function: str, template: dict[str, Any]) -> Any:
    kept = {
        name: each
        for name, each in template["Resources"].items()
        if each["Type"] not in _UNKNOWN_TO_MOTO
    }
    body = json.dumps({**template, "Resources": kept})

    def make(name: str, **more: str) -> str:
        parameters = {"OrganizationId": "o-exampleorgid", "ServiceToken": function, **more}
        return account.create_stack(name, body, parameters)["ServiceToken"]

    return make


def _resolved(node: Any, values: dict[str, str]) -> Any:
    if isinstance(node, dict):
        if node.keys() == {"Ref"}:
            return values[node["Ref"]]
        return {name: _resolved(value, values) for name, value in node.items()}
    if isinstance(node, list):
        return [_resolved(each, values) for each in node]
    return node


def test_the_omitted_types_are_unsupported_by_moto(template: dict[str, Any]) -> None:
    assert not _UNKNOWN_TO_MOTO & get_model_map().keys()
    assert {each["Type"] for each in template["Resources"].values()} == {
        *_UNKNOWN_TO_MOTO,
        "AWS::Lambda::Permission",
        "AWS::SNS::Topic",
    }


@pytest.mark.parametrize("key", ["", _KEY])
def test_the_service_token_is_a_topic_encrypted_with_the_given_key(
    account: MotoAccount, make_topic: Any, key: str
) -> None:
    topic = make_topic(f"organization-{bool(key)}".lower(), TopicKey=key)

    found = account.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    assert found["DisplayName"] == "ECR Image Replicator"
    assert found.get("KmsMasterKeyId", "") == key


def test_the_topic_may_invoke_the_function(
    account: MotoAccount, function: str, make_topic: Any
) -> None:
    topic = make_topic("permitted")

    policy = json.loads(account.client("lambda").get_policy(FunctionName=function)["Policy"])
    statements = [
        each
        for each in policy["Statement"]
        if each["Condition"]["ArnLike"]["AWS:SourceArn"] == topic
    ]
    (statement,) = statements
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert statement["Action"] == "lambda:InvokeFunction"


def test_sns_accepts_the_policy_and_the_subscription(
    account: MotoAccount, function: str, make_topic: Any, template: dict[str, Any]
) -> None:
    topic = make_topic("open")
    values = {"RequestTopic": topic, "OrganizationId": "o-exampleorgid", "ServiceToken": function}
    policy, subscription = (
        _resolved(template["Resources"][name]["Properties"], values)
        for name in ("RequestTopicPolicy", "RequestSubscription")
    )
    client = account.client("sns")

    assert policy["Topics"] == [topic]
    client.set_topic_attributes(
        TopicArn=topic,
        AttributeName="Policy",
        AttributeValue=json.dumps(policy["PolicyDocument"]),
    )
    client.subscribe(**subscription)

    (subscribed,) = client.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (subscribed["Protocol"], subscribed["Endpoint"]) == ("lambda", function)
    kept = client.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    assert json.loads(kept) == policy["PolicyDocument"]
