"""`examples/cdk`: the app deploys, the construct sets the right properties and permissions."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from local.images import Index
from tests.examples.cdk_templates import (
    actions,
    as_list,
    files,
    find,
    functions,
    is_replicator,
    machine_of,
    memory_sizes,
    name_of,
    statements,
)
from tests.examples.conftest import ROOT, SHARED_STACK, Synthesis
from tests.examples.indexes import AMD64, ARM64, digest_of
from tests.examples.resolver import Stack, load_template
from tests.examples.simulated_cloud import SimulatedCloud

HANDLER = ROOT / "handler"
#: Actions without resource-level permissions.
AUTHENTICATION_ACTIONS = {
    "ecr:GetAuthorizationToken",
    "ecr-public:GetAuthorizationToken",
    "sts:GetServiceBearerToken",
}
PULL = {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
PUSH = {
    "ecr:CompleteLayerUpload",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
}
AARCH64 = 183
#: Finds code as SAM's command line does, without Docker.
SAM_FINDS_CODE = """
import json, sys
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
stacks, _ = SamLocalStackProvider.get_stacks(sys.argv[1])
# one of the functions is for another architecture
found = [each for each in SamFunctionProvider(stacks).get_all() if each.architectures == ["arm64"]]
code = [(each.handler, each.codeuri, [layer.codeuri for layer in each.layers]) for each in found]
print(json.dumps([each for each in code if each[0]]))
"""


@pytest.fixture
def example(synthesis: Synthesis, cloud: SimulatedCloud, index: Index) -> Stack:
    """The stack of the example. Its sources have the index."""
    stack = Stack(synthesis.deployed("ReplicatedImages"), cloud)
    cloud.create_secret("docker-hub/login", "username:password", "eu-west-1")
    for name in stack.custom_resources:
        cloud.push_image(stack.properties(name)["SrcImage"], index)
    cloud.aws.docker_hub.private_repositories.add("envoyproxy/envoy")
    return stack


@pytest.fixture
def own(synthesis: Synthesis, cloud: SimulatedCloud) -> Stack:
    return Stack(synthesis.deployed("Own"), cloud, region="us-west-2")


def test_every_image_of_the_example_is_copied(example: Stack) -> None:
    assert len(example.custom_resources) == 3
    for name in example.custom_resources:
        assert example.deploy(name)["Status"] == "SUCCESS", example.deploy(name)


def test_the_ecs_task_refers_to_images_by_digest(example: Stack, index: Index) -> None:
    task = example.properties(find(example, "Task"))

    repository = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/example-web3c8945db"
    assert [container["Image"] for container in task["ContainerDefinitions"]] == [
        f"{repository}@{digest_of(index, AMD64)}",
        f"{repository}@{digest_of(index, ARM64)}",
    ]


def test_the_lambda_function_refers_to_an_existing_image(
    example: Stack, cloud: SimulatedCloud, index: Index
) -> None:
    function = example.properties(find(example, "JobsFunction"))

    uri = function["Code"]["ImageUri"]
    assert uri == example.outputs()["JobsImageUri"]
    assert cloud.manifest(uri).digest == digest_of(index, ARM64)


def test_ecs_and_lambda_have_pull_permissions(synthesis: Synthesis) -> None:
    template = synthesis.deployed("ReplicatedImages")
    execution = actions(template, "TaskExecutionRole")
    jobs = template["Resources"][name_of(template, "Jobs")]["Properties"]["RepositoryPolicyText"]

    assert PULL | {"ecr:GetAuthorizationToken"} <= execution
    assert {"Service": "lambda.amazonaws.com"} in [each["Principal"] for each in jobs["Statement"]]


def test_sam_finds_code_and_layer_in_the_asset_metadata(synthesis: Synthesis) -> None:
    sam = shutil.which("sam")
    if sam is None:
        pytest.fail("sam is not on the PATH: run `make test`, which installs it")
    python = Path(sam).with_name("python")
    template = synthesis.directory / f"{SHARED_STACK}.template.json"
    finished = subprocess.run(
        [str(python), "-c", SAM_FINDS_CODE, str(template)],
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    found = {handler: (code, layers) for handler, code, layers in json.loads(finished.stdout)}

    assert found.keys() == {"app.lambda_handler", "responder.lambda_handler"}
    responder, _ = found["responder.lambda_handler"]
    assert Path("responder.py") in files(Path(responder))
    code, layers = found["app.lambda_handler"]
    modules = {path.relative_to(HANDLER) for path in HANDLER.rglob("*.py")}
    assert {file for file in files(Path(code)) if file.suffix == ".py"} == modules
    (layer,) = layers
    assert {Path("python/crhelper/__init__.py"), Path("python/requests/__init__.py")} <= files(
        Path(layer)
    )
    compiled = list(Path(layer).rglob("*.so"))
    assert compiled
    assert {machine_of(library) for library in compiled} == {AARCH64}


def test_cfn_lint_finds_no_error(synthesis: Synthesis) -> None:
    finished = subprocess.run(
        [
            str(Path(sys.executable).with_name("cfn-lint")),
            *("--config-file", "/dev/null", "--ignore-checks", "I", "W", "--template"),
            str(synthesis.directory / "ReplicatedImages.template.json"),
            str(synthesis.directory / f"{SHARED_STACK}.template.json"),
        ],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert finished.returncode == 0, finished.stdout


def test_permissions_have_no_wildcards(synthesis: Synthesis) -> None:
    for name in ("ReplicatedImages", "Own"):
        template = synthesis.deployed(name)
        replicators = [
            statement
            for role in ("EcrImageReplicatorRole", "OwnRole")
            for statement in statements(template, role)
        ]
        assert replicators
        for statement in replicators:
            if "*" in as_list(statement["Resource"]):
                assert {*as_list(statement["Action"])} <= AUTHENTICATION_ACTIONS
            assert not [action for action in as_list(statement["Action"]) if "*" in action]


def test_permissions_of_source_and_destination(synthesis: Synthesis, own: Stack) -> None:
    template = synthesis.deployed("Own")
    repositories = "arn:aws:ecr:us-west-2:123456789012:repository"
    granted = {
        resource: {
            action
            for statement in statements(template, "EcrImageReplicatorRole")
            if resource in as_list(own.resolve(statement["Resource"]))
            for action in as_list(statement["Action"])
        }
        for resource in (
            f"{repositories}/cdk-hnb659fds-container-assets-123456789012-us-west-2",
            f"{repositories}/mirror/app",
            f"{repositories}/plain/app",
            "arn:aws:s3:::builds/app.tar",
            "arn:aws:iam::210987654321:role/Reader",
            "arn:aws:kms:us-west-2:123456789012:key/given-as-text",
            own.resolve({"Ref": name_of(template, "Secret")}),
        )
    }

    asset, destination, plain, archive, role, key, secret = granted.values()
    assert asset == PULL
    assert destination == PULL | PUSH | {"ecr:DescribeRepositories", "ecr:BatchDeleteImage"}
    assert plain == PULL | PUSH | {"ecr:DescribeRepositories"}
    assert archive == {"s3:GetObject", "s3:GetObjectVersion"}
    assert role == {"sts:AssumeRole"}
    assert key == {"kms:GetPublicKey"}
    assert "secretsmanager:GetSecretValue" in secret


def test_permissions_of_an_assumed_role_are_not_granted_to_the_function(
    own: Stack, synthesis: Synthesis
) -> None:
    granted = str(own.resolve([*statements(synthesis.deployed("Own"), "EcrImageReplicatorRole")]))
    assert "210987654321:repository" not in granted


def test_options_of_the_peer_grant_access_to_their_resources(
    synthesis: Synthesis, cloud: SimulatedCloud
) -> None:
    template = synthesis.deployed("Moved")
    stack = Stack(template, cloud, region="us-west-2")
    granted = {
        resource
        for statement in statements(template, "EcrImageReplicatorRole")
        for resource in as_list(stack.resolve(statement["Resource"]))
    }

    secrets = "arn:aws:secretsmanager:us-west-2:123456789012:secret"
    assert {
        "arn:aws:ecr-public::123456789012:repository/your-repo",
        "arn:aws:ecr:us-west-2:123456789012:repository/my-nginx",
        "arn:aws:s3:::builds/app.tar",
        f"{secrets}:docker-hub-??????",
    } <= granted


def test_options_are_rendered_as_resource_properties(own: Stack) -> None:
    properties = own.properties(find(own, "EverythingImage"))
    del properties["ServiceToken"]

    assert properties == {
        "SrcImage": "docker://registry.example.com:5000/team/app:1.0",
        "SrcCreds": own.resolve({"Ref": find(own, "Secret")}),
        "DestImage": "docker://123456789012.dkr.ecr.us-west-2.amazonaws.com/mirror/app:1.0",
        "DestTags": ["stable", "1"],
        "Platforms": ["linux/amd64", "linux/arm64"],
        "ArchImageTags": {"amd64": "1.0-amd64"},
        "CopyReferrers": "required",
        "VerifySignatureKey": "arn:aws:kms:us-west-2:123456789012:key/"
        "00000000-1111-2222-3333-444444444444",
        "OnDelete": "Untag",
        "DryRun": True,
        "Trigger": "2",
    }


def test_a_service_token_uses_an_existing_function(own: Stack) -> None:
    properties = own.resources[find(own, "SharedImage")]["Properties"]
    token = properties.pop("ServiceToken")

    assert token == {"Fn::ImportValue": "ecr-image-replicator-ServiceToken"}
    assert properties["Format"] == "docker"
    assert properties["Compression"] == "none"
    assert properties["CreateRepository"] == {"ScanOnPush": True}
    assert properties["SrcExternalId"] == "of-source"


def test_settings_are_rendered_as_environment_variables(synthesis: Synthesis) -> None:
    (function,) = (
        each
        for each in functions(synthesis.deployed("Own"))
        if "HTTPS_PROXY" in each["Environment"]["Variables"]
    )

    variables = function["Environment"]["Variables"]
    assert variables["HTTPS_PROXY"] == "http://proxy.example.com:3128"
    assert variables["DEFAULT_PLATFORMS"] == "linux/arm64"
    assert variables["ALLOWED_DESTINATIONS"] == "*.dkr.ecr.*/mirror/*"
    assert function["Architectures"] == ["x86_64"]


def test_a_dry_run_pushes_nothing(own: Stack, cloud: SimulatedCloud, index: Index) -> None:
    name = find(own, "DryRunImage")
    properties = own.properties(name)
    cloud.push_image(properties["SrcImage"], index)
    repository = cloud.create_repository(properties["DestImage"])

    response = cloud.deploy(properties)

    assert properties["DryRun"] is True
    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["Changed"] == "true"
    assert "tried" not in repository.tags("mirror/app")


def test_equal_function_options_share_a_function(synthesis: Synthesis) -> None:
    own = synthesis.template("Own")
    assert memory_sizes(synthesis.template(SHARED_STACK)) == [512, 512, 1024]
    assert memory_sizes(synthesis.template("Moved")) == []
    (in_network,) = (each for each in functions(own) if "VpcConfig" in each)
    assert in_network["Role"] == {"Fn::GetAtt": [name_of(own, "OwnRole"), "Arn"]}
    assert "logs:PutLogEvents" in actions(synthesis.deployed("Own"), "OwnRole")


def test_the_service_token_is_the_unqualified_function_arn(synthesis: Synthesis) -> None:
    resources = synthesis.deployed("Own")["Resources"]
    tokens = [
        token["Fn::GetAtt"]
        for each in resources.values()
        if each["Type"] == "Custom::ECRImage"
        and "Fn::GetAtt" in (token := each["Properties"]["ServiceToken"])
    ]
    assert {attribute for _, attribute in tokens} == {"Arn"}
    assert all(is_replicator(resources[name]) for name, _ in tokens)
    types = {each["Type"] for each in resources.values()}
    assert not types & {"AWS::Lambda::Alias", "AWS::Lambda::Version"}


def test_a_function_can_invoke_only_itself_and_the_responder(synthesis: Synthesis) -> None:
    template = synthesis.deployed("Own")
    granted = [
        statement["Resource"]
        for role in ("EcrImageReplicatorRole", "EcrImageReplicator[0-9a-f]{8}Role", "OwnRole")
        for statement in statements(template, role)
        if statement["Action"] == "lambda:InvokeFunction"
    ]
    arns = [each[0] if isinstance(each, list) else each for each in granted]
    names = {name for name, each in template["Resources"].items() if is_replicator(each)}
    assert len(names) == 4
    responder = name_of(template, "EcrImageReplicatorResponder")
    assert {each["Fn::GetAtt"][0] for each in arns} == {*names, responder}


def test_failed_invocations_are_sent_to_the_responder(synthesis: Synthesis) -> None:
    template = synthesis.deployed("Own")
    configurations = [
        each["Properties"]
        for each in template["Resources"].values()
        if each["Type"] == "AWS::Lambda::EventInvokeConfig"
        and each["Properties"]["MaximumRetryAttempts"] == 0
    ]
    assert [each["Qualifier"] for each in configurations] == ["$LATEST"] * 4
    responder = name_of(template, "EcrImageReplicatorResponder")
    for each in configurations:
        destination = each["DestinationConfig"]["OnFailure"]["Destination"]
        assert destination == {"Fn::GetAtt": [responder, "Arn"]}


def test_function_settings_equal_those_of_the_template(synthesis: Synthesis) -> None:
    written = load_template(ROOT / "template.yaml")
    sam = {
        each["Properties"]["Handler"]: each["Properties"]
        for each in written["Resources"].values()
        if each["Type"] == "AWS::Serverless::Function"
    }
    made = {
        each["Properties"].get("Handler", ""): each["Properties"]
        for each in synthesis.deployed("ReplicatedImages")["Resources"].values()
        if each["Type"] == "AWS::Lambda::Function"
    }
    defaults = {name: each["Default"] for name, each in written["Parameters"].items()}
    for handler, properties in sam.items():
        for name in ("Runtime", "Timeout"):
            value = properties[name]
            assert made[handler][name] == (defaults[name] if isinstance(value, dict) else value)
    assert made["responder.lambda_handler"]["MemorySize"] == 128
    assert made["app.lambda_handler"]["MemorySize"] == defaults["MemorySize"]


def test_contradictory_options_are_rejected_with_the_option_name(synthesis: Synthesis) -> None:
    errors = synthesis.read("validation-errors.json")
    names = {
        option: message.removeprefix("invalid ").replace(":", " ").split()[0]
        for option, message in errors.items()
    }
    assert names == {
        "architecture and index": "image_arch",
        "two architectures": "image_arch",
        "architecture and platforms": "image_arch",
        "tags without index": "arch_image_tags",
        "string for a list": "platforms",
        "string for tags": "tags",
        "not a tag": "tags",
        "unknown choice": "on_delete",
        "unknown compression": "compression",
        "unknown key": "retry_configs",
        "unknown repository key": "create_repository",
        "all and one": "platforms",
        "function that exists": "service_token",
    }
