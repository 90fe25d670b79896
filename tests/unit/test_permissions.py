"""The AWS calls in the code, the documented permissions and the granted permissions agree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore
import botocore.session
import pytest
import yaml

from ecr_image_replicator.aws.operations import Operation

_ROOT = Path(__file__).parents[2]
_ENGINE = _ROOT / "handler" / "ecr_image_replicator"
_AWS = (*_ENGINE.glob("aws/*.py"), *_ENGINE.glob("ecr/*.py"))
_INVOKE = ["lambda:InvokeFunction"]
_LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
_NETWORK = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
}
#: Permissions that calls need in addition to their own.
_FURTHER = {
    Operation.READ_OBJECT: ("s3:GetObjectVersion", "s3:ListBucket", "kms:Decrypt"),
    Operation.READ_SECRET: ("kms:Decrypt",),
    Operation.CREATE_REPOSITORY: ("ecr:TagResource", "kms:CreateGrant", "kms:DescribeKey"),
    Operation.SIGN_IN_PUBLICLY: ("sts:GetServiceBearerToken",),
    Operation.CREATE_SCHEDULE: ("iam:PassRole",),
}
#: Permissions that requests of the distribution protocol need in ECR.
_PULL = {
    "ecr:BatchGetImage",
    # the first pull through a pull-through cache rule
    "ecr:BatchImportUpstreamImage",
    "ecr:GetDownloadUrlForLayer",
}
_PUSH = {
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:GetDownloadUrlForLayer",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
}
_PUBLIC_PUSH = {
    "ecr-public:BatchCheckLayerAvailability",
    "ecr-public:CompleteLayerUpload",
    "ecr-public:InitiateLayerUpload",
    "ecr-public:PutImage",
    "ecr-public:UploadLayerPart",
}
#: Permissions that Lambda itself uses.
_LAMBDAS = _LOGS | _NETWORK


class _TemplateLoader(yaml.SafeLoader):
    """Reads ``!If [A, B, C]`` as ``[A, B, C]``."""


def _untagged(loader: yaml.Loader, _name: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.ScalarNode)
    return loader.construct_scalar(node)


_TemplateLoader.add_multi_constructor("!", _untagged)


def _statements(effect: str = "Allow") -> Iterator[dict[str, Any]]:
    for statement in _all_statements():
        if statement["Effect"] == effect:
            yield statement


def _all_statements() -> Iterator[dict[str, Any]]:
    text = (_ROOT / "template.yaml").read_text()
    template = yaml.load(text, _TemplateLoader)  # noqa: S506 - a SafeLoader
    resources = template["Resources"]
    for policy in resources["ReplicatorRole"]["Properties"]["Policies"]:
        document = policy if isinstance(policy, dict) else policy[1]
        yield from document["PolicyDocument"]["Statement"]
    for resource in resources.values():
        is_policy = resource["Type"] == "AWS::IAM::RolePolicy"
        if is_policy and resource["Properties"]["RoleName"] == "ReplicatorRole":
            yield from resource["Properties"]["PolicyDocument"]["Statement"]


def _granted() -> set[str]:
    return {action for statement in _statements() for action in statement["Action"]}


def _needed() -> set[str]:
    further = {action for actions in _FURTHER.values() for action in actions}
    registries = _PULL | _PUSH | _PUBLIC_PUSH
    return {operation.action for operation in Operation} | further | registries | _LAMBDAS


def test_the_template_grants_exactly_what_the_code_needs() -> None:
    assert _granted() == _needed()


def test_source_repositories_can_be_pulled_and_their_tags_listed() -> None:
    (granted,) = (
        set(each["Action"])
        for each in _statements()
        if isinstance(each["Resource"], list) and each["Resource"][-1] == "SourceRepositories"
    )
    # tags/list in ECR needs ListImages
    assert granted == _PULL | {"ecr:DescribeImages", "ecr:ListImages"}


def test_the_documentation_lists_exactly_what_the_code_needs() -> None:
    table = (_ROOT / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9-]+:[A-Za-z]+)` \|", table, re.MULTILINE)

    assert len(rows) == len(set(rows))
    assert set(rows) == _needed()


def test_only_actions_without_resources_are_granted_on_all_resources() -> None:
    everything = {
        action
        for statement in _statements()
        if statement["Resource"] == "*"
        for action in statement["Action"]
    }

    assert everything == {
        "ecr:GetAuthorizationToken",
        "ecr-public:GetAuthorizationToken",
        "sts:GetServiceBearerToken",
        *_NETWORK,
    }
    assert not any("*" in action for action in _granted())


def test_the_function_may_invoke_only_itself_and_its_responder() -> None:
    invoked = [each["Resource"] for each in _statements() if each["Action"] == _INVOKE]
    assert invoked == ["ResponderFunction.Arn", "ReplicatorFunction.Arn"]


def test_network_permissions_are_denied_to_the_functions_code() -> None:
    (denied,) = _statements("Deny")
    assert set(denied["Action"]) == _NETWORK
    assert denied["Resource"] == "*"
    assert denied["Condition"] == {
        "ArnEquals": {"lambda:SourceFunctionArn": "ReplicatorFunction.Arn"}
    }


@pytest.mark.parametrize("operation", list(Operation), ids=lambda operation: operation.action)
def test_every_operation_exists_in_its_service_and_is_called(
    operation: Operation,
) -> None:
    session = botocore.session.get_session()
    model = session.get_service_model(operation.service)
    assert operation.api_name in model.operation_names

    sources = [path.read_text() for path in _AWS if path.name != "operations.py"]
    assert any(f"Operation.{operation.name}" in source for source in sources)


def _called_methods(tree: ast.AST) -> set[str]:
    return {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }


def test_no_call_bypasses_the_list_of_operations() -> None:
    session = botocore.session.get_session()
    services = {operation.service for operation in Operation}
    methods = {
        botocore.xform_name(name)
        for service in services
        for name in session.get_service_model(service).operation_names
    }

    for path in _AWS:
        called = _called_methods(ast.parse(path.read_text()))
        assert not called & methods, path.name
        assert path.name == "clients.py" or not called & {"client", "resource"}, path.name


def test_kms_keys_are_used_through_services_except_for_public_keys() -> None:
    statements = [each for each in _statements() if each["Resource"] == "KmsKeys"]
    conditions = {
        action: each.get("Condition", {}).get("StringLike", {}).get("kms:ViaService", [])
        for each in statements
        for action in each["Action"]
    }
    assert conditions == {
        "kms:Decrypt": [
            "s3.*.amazonaws.com",
            "s3.*.${AWS::URLSuffix}",
            "secretsmanager.*.amazonaws.com",
            "secretsmanager.*.${AWS::URLSuffix}",
        ],
        "kms:CreateGrant": ["ecr.*.amazonaws.com", "ecr.*.${AWS::URLSuffix}"],
        "kms:DescribeKey": ["ecr.*.amazonaws.com", "ecr.*.${AWS::URLSuffix}"],
        "kms:GetPublicKey": [],
    }
