"""The template, transformed as SAM does and deployed into moto's CloudFormation.

moto does not know the types in `_UNKNOWN_TO_MOTO`: they are omitted from the deployment and checked
in the transformed template. moto also keeps `AWS::NoValue` in lists: list members that a condition
removes are removed before the deployment.
"""

from __future__ import annotations

import functools
import io
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from moto.cloudformation.parsing import get_model_map
from tests.examples.resolver import load_template
from tests.interop.moto_account import ACCOUNT, REGION, MotoAccount, open_account

from ecr_image_replicator.request.settings import Settings

_ROOT = Path(__file__).parents[2]

_TRANSFORM = """
import json, sys
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

class NoManagedPolicies:
    def load(self):
        return {}

template = yaml_parse(sys.stdin.read())
print(json.dumps(transform(template, json.loads(sys.argv[1]), NoManagedPolicies())))
"""
_BUCKET = "artifacts-of-the-template"
_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
_REPOSITORY = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/mirror/*"
#: A value for every parameter whose default is empty or stands for every repository.
_EVERYTHING = {
    "AllowedDestinations": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mirror/*",
    "AllowedSourceHosts": "docker.io",
    "Archives": "arn:aws:s3:::builds,arn:aws:s3:::builds/*",
    "CaBundleLayer": f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:authorities:1",
    "CreatableRepositories": _REPOSITORY,
    "DestinationRepositories": f"{_REPOSITORY},arn:aws:ecr-public::{ACCOUNT}:repository/mirror",
    "EncryptionKey": _KEY,
    "HttpsProxy": "http://proxy.internal:3128",
    "KmsKeys": _KEY,
    "MirrorBucket": "mirrors",
    "NoProxy": ".internal,169.254.169.254",
    "PlainHttpRegistries": "registry.internal:5000",
    "Roles": f"arn:aws:iam::{ACCOUNT}:role/reader",
    "Secrets": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:hub-*",
    "SecurityGroupIds": "sg-12345678",
    "SourceRepositories": _REPOSITORY,
    "SubnetIds": "subnet-12345678,subnet-87654321",
    "UntaggableRepositories": _REPOSITORY,
}
_UNKNOWN_TO_MOTO = {
    "AWS::CloudWatch::Alarm",
    "AWS::IAM::RolePolicy",
    "AWS::Lambda::EventInvokeConfig",
}
#: The conditions that hold when no parameter is given.
_TRUE_BY_DEFAULT = {"HasDestinationRepositories", "HasSourceRepositories"}


def _packaged(source: str) -> str:
    """What `sam package` makes of the template: code by its address in S3."""
    source = source.replace("CodeUri: handler/", f"CodeUri: s3://{_BUCKET}/Function.zip")
    return source.replace(
        "ContentUri: layers/dependencies/", f"ContentUri: s3://{_BUCKET}/Layer.zip"
    )


def _transform(source: str, parameters: dict[str, str]) -> dict[str, Any]:
    transformed = json.loads(_run_transform(source, json.dumps(parameters)))
    assert isinstance(transformed, dict)
    return transformed


@functools.cache
def _run_transform(source: str, parameters: str) -> str:
    sam = shutil.which("sam")
    if sam is None:
        pytest.fail("sam is not on the PATH: run `make test`, which installs it")
    finished = subprocess.run(
        [str(Path(sam).with_name("python")), "-c", _TRANSFORM, parameters],
        input=source,
        env={"AWS_DEFAULT_REGION": REGION},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def _without_what_is_left_out(node: Any) -> Any:
    """Remove the list members that a condition removes from a stack without parameters."""
    if isinstance(node, list):
        kept = [each for each in node if not _is_left_out(each)]
        return [_without_what_is_left_out(each) for each in kept]
    if isinstance(node, dict):
        return {name: _without_what_is_left_out(value) for name, value in node.items()}
    return node


def _is_left_out(node: Any) -> bool:
    choice = node.get("Fn::If") if isinstance(node, dict) else None
    return bool(
        choice and choice[0] not in _TRUE_BY_DEFAULT and choice[2] == {"Ref": "AWS::NoValue"}
    )


def _for_moto(template: dict[str, Any]) -> dict[str, Any]:
    """Remove the resources that moto does not know."""
    kept = {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] not in _UNKNOWN_TO_MOTO
    }
    return {**template, "Resources": kept}


class Account:
    """An account with the template's code in a bucket, in which the template is deployed."""

    def __init__(self, moto: MotoAccount) -> None:
        self._moto = moto
        self.client = moto.client
        self.make_stack = moto.make_stack
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("app.py", "")
        self.client("s3").create_bucket(
            Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        for name in ("Function", "Layer"):
            self.client("s3").put_object(Bucket=_BUCKET, Key=f"{name}.zip", Body=archive.getvalue())

    def deploy(self, name: str, source: str, parameters: dict[str, str]) -> dict[str, str]:
        """Deploy, and give the stack's outputs."""
        template = _for_moto(_transform(source, parameters))
        if parameters is not _EVERYTHING:
            template["Resources"] = _without_what_is_left_out(template["Resources"])
        return self._moto.make_stack(name, json.dumps(template), parameters)

    def policies(self, role: str) -> set[str]:
        names = self.client("iam").list_role_policies(RoleName=role)["PolicyNames"]
        return set(names)

    def statements(self, role: str, policy: str) -> list[dict[str, Any]]:
        found = self.client("iam").get_role_policy(RoleName=role, PolicyName=policy)
        # moto returns the text of a Python object, which YAML can read too
        document = yaml.safe_load(str(found["PolicyDocument"]))
        return list(document["Statement"])


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    with open_account() as moto:
        yield Account(moto)


@pytest.fixture(scope="module")
def source() -> str:
    return _packaged((_ROOT / "template.yaml").read_text())


def _named(template: dict[str, Any], kind: str) -> dict[str, Any]:
    return {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("Ref"), str):
            yield node["Ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def test_patterns_accept_defaults_and_valid_values(source: str) -> None:
    parameters = _transform(source, {})["Parameters"]
    given = {name: str(each["Default"]) for name, each in parameters.items()}
    for name, value in (*given.items(), *_EVERYTHING.items()):
        is_list = parameters[name]["Type"] == "CommaDelimitedList"
        for each in value.split(",") if is_list else [value]:
            assert re.fullmatch(parameters[name].get("AllowedPattern", ".*"), each), name


def test_moto_does_not_know_the_omitted_types() -> None:
    assert not _UNKNOWN_TO_MOTO & get_model_map().keys()


def test_a_stack_without_parameters_reaches_the_repositories_of_its_account_and_region(
    account: Account, source: str
) -> None:
    outputs = account.deploy("plain", source, {})

    assert account.policies(outputs["RoleName"]) == {
        "GetRegistryTokens",
        "InvokeResponder",
        "ManageNetworkInterfaces",
        "PullImages",
        "PushImages",
        "WriteLogs",
    }
    for name in ("PullImages", "PushImages"):
        (statement,) = account.statements(outputs["RoleName"], name)
        assert statement["Resource"] == f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/*"
    found = account.client("lambda").get_function(FunctionName=outputs["FunctionName"])
    configuration = found["Configuration"]
    variables = configuration["Environment"]["Variables"]
    assert Settings.from_environment({k: str(v) for k, v in variables.items()}) == Settings()
    assert not {"HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "AWS_CA_BUNDLE"} & variables.keys()
    assert variables["POWERTOOLS_SERVICE_NAME"] == "plain"
    assert "VpcConfig" not in configuration
    (group,) = account.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/plain")[
        "logGroups"
    ]
    assert (group["logGroupName"], group["retentionInDays"]) == (outputs["LogGroupName"], 30)


def test_a_stack_with_every_parameter_has_every_policy(account: Account, source: str) -> None:
    outputs = account.deploy("everything", source, _EVERYTHING)

    role = _transform(source, {})["Resources"]["ReplicatorRole"]["Properties"]
    named = [each["Fn::If"][1] if "Fn::If" in each else each for each in role["Policies"]]
    assert account.policies(outputs["RoleName"]) == {each["PolicyName"] for each in named}
    found = account.client("lambda").get_function(FunctionName=outputs["FunctionName"])
    variables = found["Configuration"]["Environment"]["Variables"]
    assert variables["HTTPS_PROXY"] == _EVERYTHING["HttpsProxy"]
    assert variables["NO_PROXY"] == _EVERYTHING["NoProxy"]
    assert variables["SSL_CERT_FILE"] == variables["AWS_CA_BUNDLE"] == "/opt/ca-bundle.pem"
    network = found["Configuration"]["VpcConfig"]
    assert network["SubnetIds"] == _EVERYTHING["SubnetIds"].split(",")
    assert network["SecurityGroupIds"] == [_EVERYTHING["SecurityGroupIds"]]
    (statement,) = account.statements(outputs["RoleName"], "PushImages")
    assert statement["Resource"] == _EVERYTHING["DestinationRepositories"].split(",")


def test_the_monitoring_stack_imports_the_functions_names(account: Account, source: str) -> None:
    outputs = account.deploy("watched", source, {})
    template = load_template(_ROOT / "monitoring.yaml")
    alarms = {n: e for n, e in template["Resources"].items() if e["Type"] in _UNKNOWN_TO_MOTO}
    # the alarms' math is checked by cfn-lint; moto has no CloudFormation type for alarms
    for name in alarms:
        del template["Resources"][name]
    template["Outputs"] = {"Dashboard": {"Value": {"Ref": "OperationsDashboard"}}}
    account.make_stack("monitoring", json.dumps(template), {"ReplicatorStack": "watched"})

    client = account.client("cloudwatch")
    bodies = [
        client.get_dashboard(DashboardName=each["DashboardName"])["DashboardBody"]
        for each in client.list_dashboards()["DashboardEntries"]
    ]
    (body,) = (json.loads(each) for each in bodies)
    texts = json.dumps(body)
    assert "${" not in texts
    assert len(body["widgets"]) == 8
    assert f"SOURCE '{outputs['LogGroupName']}'" in texts
    assert outputs["FunctionName"] in texts
    assert len(alarms) == 5


def test_cloudwatch_accepts_every_alarm(account: Account) -> None:
    template = load_template(_ROOT / "monitoring.yaml")
    client = account.client("cloudwatch")

    for name, alarm in _named(template, "AWS::CloudWatch::Alarm").items():
        properties = {**alarm["Properties"], "AlarmActions": []}
        for metric in properties.get("Metrics", []):
            metric["Expression"] = str(metric.get("Expression", ""))
            if "MetricStat" in metric:
                metric["MetricStat"]["Metric"]["Dimensions"] = []
                del metric["Expression"]
        properties["Dimensions"] = [
            {"Name": each["Name"], "Value": "x"} for each in properties.get("Dimensions", [])
        ]
        client.put_metric_alarm(AlarmName=name, **properties)

    made = client.describe_alarms()["MetricAlarms"]
    assert len(made) == 5


def test_stacks_use_the_function_itself_without_versions(source: str) -> None:
    template = _transform(source, {})
    kinds = {each["Type"] for each in template["Resources"].values()}
    assert not kinds & {"AWS::Lambda::Alias", "AWS::Lambda::Version"}
    assert template["Outputs"]["ServiceToken"]["Value"] == {
        "Fn::GetAtt": ["ReplicatorFunction", "Arn"]
    }


def test_failed_invocations_of_latest_go_to_the_responder(source: str) -> None:
    template = _transform(source, {})
    (configuration,) = (
        each["Properties"]
        for each in _named(template, "AWS::Lambda::EventInvokeConfig").values()
        if each["Properties"]["FunctionName"] == {"Ref": "ReplicatorFunction"}
    )
    assert configuration["Qualifier"] == "$LATEST"
    assert configuration["MaximumRetryAttempts"] == 0
    assert configuration["DestinationConfig"] == {
        "OnFailure": {"Destination": {"Fn::GetAtt": ["ResponderFunction", "Arn"]}}
    }
