"""The template, transformed by SAM and deployed to moto's CloudFormation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.cloudformation.parsing import get_model_map
from tests.examples.resolver import load_template
from tests.interop.deployed_template import (
    UNKNOWN_TO_MOTO,
    TemplateAccount,
    named,
    packaged,
    transform,
)
from tests.interop.moto_account import ACCOUNT, REGION, open_account

from ecr_image_replicator.request.settings import Settings

_ROOT = Path(__file__).parents[2]

_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
_REPOSITORY = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/mirror/*"
#: A value for each parameter whose default is empty or includes every repository.
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
    "NoProxy": ".internal,169.254.169.254",
    "PlainHttpRegistries": "registry.internal:5000",
    "Roles": f"arn:aws:iam::{ACCOUNT}:role/reader",
    "Secrets": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:hub-*",
    "SecurityGroupIds": "sg-12345678",
    "SourceRepositories": _REPOSITORY,
    "SubnetIds": "subnet-12345678,subnet-87654321",
    "UntaggableRepositories": _REPOSITORY,
}


@pytest.fixture(scope="module")
def account() -> Iterator[TemplateAccount]:
    with open_account() as moto:
        yield TemplateAccount(moto)


@pytest.fixture(scope="module")
def source() -> str:
    return packaged((_ROOT / "template.yaml").read_text())


def test_patterns_accept_defaults_and_valid_values(source: str) -> None:
    parameters = transform(source, {})["Parameters"]
    given = {name: str(each["Default"]) for name, each in parameters.items()}
    for name, value in (*given.items(), *_EVERYTHING.items()):
        is_list = parameters[name]["Type"] == "CommaDelimitedList"
        for each in value.split(",") if is_list else [value]:
            assert re.fullmatch(parameters[name].get("AllowedPattern", ".*"), each), name


def test_the_omitted_types_are_unsupported_by_moto() -> None:
    assert not UNKNOWN_TO_MOTO & get_model_map().keys()


def test_the_default_policies_grant_the_repositories_of_account_and_region(
    account: TemplateAccount, source: str
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


def test_a_stack_with_every_parameter_has_every_policy(
    account: TemplateAccount, source: str
) -> None:
    outputs = account.deploy("everything", source, _EVERYTHING)

    role = transform(source, {})["Resources"]["ReplicatorRole"]["Properties"]
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


def test_the_monitoring_stack_imports_the_function_and_log_group_names(
    account: TemplateAccount, source: str
) -> None:
    outputs = account.deploy("watched", source, {})
    template = load_template(_ROOT / "monitoring.yaml")
    alarms = {n: e for n, e in template["Resources"].items() if e["Type"] in UNKNOWN_TO_MOTO}
    # moto has no CloudFormation type for alarms; cfn-lint checks their expressions
    for name in alarms:
        del template["Resources"][name]
    template["Outputs"] = {"Dashboard": {"Value": {"Ref": "OperationsDashboard"}}}
    account.create_stack("monitoring", json.dumps(template), {"ReplicatorStack": "watched"})

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
    assert alarms


def test_cloudwatch_accepts_every_alarm(account: TemplateAccount) -> None:
    template = load_template(_ROOT / "monitoring.yaml")
    client = account.client("cloudwatch")

    for name, alarm in named(template, "AWS::CloudWatch::Alarm").items():
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
    assert len(made) == len(named(template, "AWS::CloudWatch::Alarm"))


def test_the_service_token_is_the_unqualified_function_arn(source: str) -> None:
    template = transform(source, {})
    kinds = {each["Type"] for each in template["Resources"].values()}
    assert not kinds & {"AWS::Lambda::Alias", "AWS::Lambda::Version"}
    assert template["Outputs"]["ServiceToken"]["Value"] == {
        "Fn::GetAtt": ["ReplicatorFunction", "Arn"]
    }


def test_failed_invocations_are_sent_to_the_responder(source: str) -> None:
    template = transform(source, {})
    (configuration,) = (
        each["Properties"]
        for each in named(template, "AWS::Lambda::EventInvokeConfig").values()
        if each["Properties"]["FunctionName"] == {"Ref": "ReplicatorFunction"}
    )
    assert configuration["Qualifier"] == "$LATEST"
    assert configuration["MaximumRetryAttempts"] == 0
    assert configuration["DestinationConfig"] == {
        "OnFailure": {"Destination": {"Fn::GetAtt": ["ResponderFunction", "Arn"]}}
    }
