"""The README's first stack: the template is deployed to moto and the function runs with its role.

The role's policies are evaluated: calls that the template does not grant are denied.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml
from local.aws import LoopbackAws
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.emulator import FunctionError, LambdaEmulator
from local.images import Image, build_image, build_layer, place
from tests.examples.resolver import Stack
from tests.interop.deployed_template import TemplateAccount, named, packaged, transform
from tests.interop.moto_account import ACCOUNT, REGION, open_account

ROOT = Path(__file__).parents[2]
SOURCE = "docker/library/nginx"
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
Policies = list[dict[str, Any]]


@dataclass(frozen=True)
class Deployed:
    """A deployment of template.yaml with its defaults."""

    outputs: dict[str, str]
    variables: dict[str, str]
    policies: Policies

    @property
    def role_arn(self) -> str:
        return self.outputs["RoleArn"]


@pytest.fixture(scope="module")
def deployed() -> Deployed:
    source = packaged((ROOT / "template.yaml").read_text())
    with open_account() as moto:
        account = TemplateAccount(moto)
        outputs = account.deploy("ecr-image-replicator", source, {})
        function = account.client("lambda").get_function(FunctionName=outputs["FunctionName"])
        variables = function["Configuration"]["Environment"]["Variables"]
        role = outputs["RoleName"]
        policies = [
            {"Version": "2012-10-17", "Statement": account.statements(role, name)}
            for name in sorted(account.policies(role))
        ]
    # moto does not support this type, whose only reference is the function's ARN
    for resource in named(transform(source, {}), "AWS::IAM::RolePolicy").values():
        if "Condition" in resource:
            continue
        document = copy.deepcopy(resource["Properties"]["PolicyDocument"])
        policies.append(_with_function(document, outputs["ServiceToken"]))
    return Deployed(outputs, {key: str(value) for key, value in variables.items()}, policies)


def _with_function(node: Any, arn: str) -> Any:
    if node == {"Fn::GetAtt": ["ReplicatorFunction", "Arn"]}:
        return arn
    if isinstance(node, dict):
        return {name: _with_function(value, arn) for name, value in node.items()}
    if isinstance(node, list):
        return [_with_function(each, arn) for each in node]
    return node


@dataclass
class Cloud:
    """A `ResourceProvider` that deploys custom resources with the emulated function."""

    aws: LoopbackAws
    endpoint: CloudFormationEndpoint
    function: LambdaEmulator

    def deploy(self, properties: Any) -> dict[str, Any]:
        event = self.endpoint.event("Create", properties)
        body = self.function.invoke(event)
        assert self.endpoint.wait_for_response(event["RequestId"]).document == body
        assert isinstance(body, dict)
        return body

    def create(self, kind: str, name: str, properties: Any, region: str) -> str:
        assert (kind, region) == ("AWS::ECR::Repository", REGION)
        repository = str(properties.get("RepositoryName", name))
        self.aws.ecr().create_repository(repository)
        return repository


@pytest.fixture(scope="module")
def image() -> Image:
    return build_image([build_layer(20_000, seed=seed) for seed in range(2)])


@pytest.fixture
def open_cloud(
    tmp_path_factory: pytest.TempPathFactory, deployed: Deployed, image: Image
) -> Iterator[Callable[[Policies], Cloud]]:
    authority = CertificateAuthority(tmp_path_factory.mktemp("authority"))
    with (
        LoopbackAws(authority=authority) as aws,
        CloudFormationEndpoint(authority.server_context()) as endpoint,
    ):
        place(image, aws.public_ecr.store, SOURCE, "1.27")
        started: list[LambdaEmulator] = []

        def start(policies: Policies) -> Cloud:
            context = {"lambda:SourceFunctionArn": deployed.outputs["ServiceToken"]}
            environment = {
                **deployed.variables,
                **aws.environment_of(deployed.role_arn, policies, context),
                "RESPONSE_HOSTS": endpoint.host,
            }
            emulator = LambdaEmulator(ROOT / "handler", environment=environment)
            started.append(emulator.__enter__())
            return Cloud(aws, endpoint, started[-1])

        yield start
        for each in started:
            each.__exit__()


def first_stack(cloud: Cloud, deployed: Deployed) -> Stack:
    """Return the first stack of the README."""
    section = (ROOT / "README.md").read_text().partition("\n## A stack\n")[2]
    text = re.findall(r"^```yaml\n(.+?)^```$", section, re.MULTILINE | re.DOTALL)[0]
    exports = {
        "ecr-image-replicator-ServiceToken": deployed.outputs["ServiceToken"],
    }
    return Stack(cfn_yaml.loads(text), cloud, imports=exports)


def test_the_first_stack_of_the_readme_works_with_the_defaults(
    open_cloud: Callable[[Policies], Cloud], deployed: Deployed, image: Image
) -> None:
    cloud = open_cloud(deployed.policies)

    outputs = first_stack(cloud, deployed).outputs()

    assert outputs == {"ImageUri": f"{HOST}/mirror/nginx@{image.digest}"}
    assert cloud.aws.ecr().store.tags("mirror/nginx") == {"1.27": image.digest}
    assert not cloud.endpoint.violations


@pytest.mark.parametrize(
    "action", ["ecr:PutImage", "ecr:InitiateLayerUpload", "ecr:GetAuthorizationToken"]
)
def test_the_first_stack_fails_without_each_permission(
    open_cloud: Callable[[Policies], Cloud], deployed: Deployed, action: str
) -> None:
    cloud = open_cloud([_without(each, action) for each in deployed.policies])

    properties = first_stack(cloud, deployed).properties("Image")
    # a direct call, since a Create waits for permissions that may still propagate
    with pytest.raises(FunctionError, match="access denied"):
        cloud.function.invoke(properties)

    assert cloud.aws.ecr().store.tags("mirror/nginx") == {}


def test_access_that_no_parameter_grants_is_denied(
    open_cloud: Callable[[Policies], Cloud], deployed: Deployed
) -> None:
    cloud = open_cloud(deployed.policies)
    cloud.aws.client("secretsmanager").create_secret(Name="hub", SecretString="ann:hunter2")
    cloud.aws.ecr(region="eu-central-1").create_repository("mirror/nginx")
    image = f"public.ecr.aws/{SOURCE}:1.27"
    elsewhere = HOST.replace(REGION, "eu-central-1")
    denied = [
        {"SrcImage": image, "DestImage": f"{HOST}/new/nginx:1", "CreateRepository": "true"},
        {"SrcImage": image, "DestImage": f"{elsewhere}/mirror/nginx:1"},
        {"SrcImage": image, "DestImage": f"{HOST}/mirror/nginx:1", "SrcCreds": "hub"},
        {"SrcImage": "s3://builds/app.tar", "DestImage": f"{HOST}/mirror/nginx:1"},
    ]
    cloud.aws.ecr().create_repository("mirror/nginx")

    for properties in denied:
        with pytest.raises(FunctionError, match="access denied"):
            cloud.function.invoke(properties)


def _without(policy: dict[str, Any], action: str) -> dict[str, Any]:
    statements = [
        {**each, "Action": [one for one in each["Action"] if one != action]}
        for each in policy["Statement"]
    ]
    return {**policy, "Statement": [each for each in statements if each["Action"]]}
