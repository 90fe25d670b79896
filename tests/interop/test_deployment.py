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
from moto.cloudformation.parsing import get_model_map
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
#: A value for every parameter that is empty unless it is given.
_EVERYTHING = {
    "AlarmTopic": f"arn:aws:sns:{REGION}:{ACCOUNT}:operators",
    "Alarms": "true",
    "AllowedDestinations": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mirror/*",
    "AllowedSourceHosts": "docker.io",
    "ArchiveBuckets": "arn:aws:s3:::builds",
    "ArchiveKeys": _KEY,
    "Archives": "arn:aws:s3:::builds/*",
    "CaBundleLayer": f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:authorities:1",
    "CreatableRepositories": _REPOSITORY,
    "Dashboard": "true",
    "DestinationRepositories": f"{_REPOSITORY},{_REPOSITORY}",
    "EnvironmentKey": _KEY,
    "HttpsProxy": "http://ann:hunter2@proxy.internal:3128",
    "LogKey": _KEY,
    "NoProxy": ".internal,169.254.169.254",
    "PlainHttpRegistries": "registry.internal:5000",
    "PublicDestinationRepositories": f"arn:aws:ecr-public::{ACCOUNT}:repository/mirror",
    "RepositoryKeys": _KEY,
    "ReservedConcurrency": "5",
    "Roles": f"arn:aws:iam::{ACCOUNT}:role/reader",
    "SecretKeys": _KEY,
    "Secrets": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:hub-*",
    "SecurityGroupIds": "sg-12345678",
    "SignatureKeys": _KEY,
    "SourceRepositories": _REPOSITORY,
    "SubnetIds": "subnet-12345678,subnet-87654321",
    "Tracing": "Active",
    "UntaggableRepositories": _REPOSITORY,
}
_UNKNOWN_TO_MOTO = {
    "AWS::CloudWatch::Alarm",
    "AWS::IAM::RolePolicy",
    "AWS::Lambda::EventInvokeConfig",
}
#: The one condition that holds when no parameter is given.
_TRUE_BY_DEFAULT = "UsesEcrPublic"


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
    """Drop members of lists that a condition leaves out of a stack without parameters."""
    if isinstance(node, list):
        kept = [each for each in node if not _is_left_out(each)]
        return [_without_what_is_left_out(each) for each in kept]
    if isinstance(node, dict):
        return {name: _without_what_is_left_out(value) for name, value in node.items()}
    return node


def _is_left_out(node: Any) -> bool:
    choice = node.get("Fn::If") if isinstance(node, dict) else None
    return bool(choice and choice[0] != _TRUE_BY_DEFAULT and choice[2] == {"Ref": "AWS::NoValue"})


def _for_moto(template: dict[str, Any]) -> dict[str, Any]:
    """Leave out what moto cannot make, and what only that can tell."""
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


def test_patterns_take_what_is_meant(source: str) -> None:
    parameters = _transform(source, {})["Parameters"]
    given = {name: str(each["Default"]) for name, each in parameters.items()}
    for name, value in (*given.items(), *_EVERYTHING.items()):
        is_list = parameters[name]["Type"] == "CommaDelimitedList"
        for each in value.split(",") if is_list else [value]:
            assert re.fullmatch(parameters[name].get("AllowedPattern", ".*"), each), name


def test_moto_does_not_know_what_is_left_out() -> None:
    assert not _UNKNOWN_TO_MOTO & get_model_map().keys()


def test_a_stack_without_parameters_is_made_and_reaches_nothing(
    account: Account, source: str
) -> None:
    outputs = account.deploy("plain", source, {})

    assert account.policies(outputs["RoleName"]) == {
        "HandFailuresOver",
        "SignInToEcr",
        "SignInToEcrPublic",
        "WriteItsLogs",
    }
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


def test_a_stack_with_every_parameter_is_made_of_everything(account: Account, source: str) -> None:
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
    policy = account.client("iam").get_role_policy(
        RoleName=outputs["RoleName"], PolicyName="PutImages"
    )
    assert str(policy["PolicyDocument"]).count(_REPOSITORY) == 2


def test_the_dashboard_is_json_that_names_this_stack_s_function(
    account: Account, source: str
) -> None:
    outputs = account.deploy("watched", source, {"Dashboard": "true"})

    client = account.client("cloudwatch")
    bodies = [
        client.get_dashboard(DashboardName=each["DashboardName"])["DashboardBody"]
        for each in client.list_dashboards()["DashboardEntries"]
    ]
    (body,) = (json.loads(each) for each in bodies if outputs["FunctionName"] in each)
    texts = json.dumps(body)
    assert "${" not in texts
    assert len(body["widgets"]) == 8
    assert f"SOURCE '{outputs['LogGroupName']}'" in texts


def test_cloudwatch_takes_every_alarm(account: Account, source: str) -> None:
    alarms = _named(_transform(source, {}), "AWS::CloudWatch::Alarm")
    client = account.client("cloudwatch")

    for name, alarm in alarms.items():
        assert alarm["Condition"] == "HasAlarms"
        properties = {**alarm["Properties"], "AlarmActions": []}
        properties["Dimensions"] = [
            {"Name": each["Name"], "Value": "x"} for each in properties["Dimensions"]
        ]
        client.put_metric_alarm(AlarmName=name, **properties)

    made = client.describe_alarms()["MetricAlarms"]
    assert {each["AlarmName"] for each in made} == alarms.keys()
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
