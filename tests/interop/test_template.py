from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecr_image_replicator.request.settings import Settings

_ROOT = Path(__file__).parents[2]
_TEMPLATE = _ROOT / "template.yaml"
_ORGANIZATION = _ROOT / "organization.yaml"
_MONITORING = _ROOT / "monitoring.yaml"
_LAYER_LIMIT_BYTES = 35 * 1024 * 1024
_STATEMENT_PARTS = {"Action", "Resource", "Principal"}
_UNBOUND_ACTIONS = {
    "ecr:GetAuthorizationToken",
    "ecr-public:GetAuthorizationToken",
    "sts:GetServiceBearerToken",
    # Lambda's own
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
}
#: Resources of mirrors: objects in their bucket, executions and schedules.
_OF_MIRRORS = re.compile(
    r"(?<=\$\{MirrorBucket\}/mirrors)/\*|(?<=mirrors/)(?:/items-)?\*|items-\*"
    r"|(?<=:execution:\$\{AWS::StackName\}-mirrors)[:/]\*"
    r"|(?<=:schedule/\$\{AWS::StackName\}-mirrors)/\*"
)
#: The default of DestinationRepositories and SourceRepositories.
_EVERY_REPOSITORY = "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/*"
#: e_machine of an ELF file, 16 bits at byte 18.
_MACHINES = {"arm64": 183, "x86_64": 62}


class _TemplateLoader(yaml.SafeLoader):
    """Reads ``!Ref X`` as ``{"Ref": "X"}``."""


def _function(loader: yaml.Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    raise TypeError(f"!{name} of a {type(node).__name__}")


_TemplateLoader.add_multi_constructor("!", _function)


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    loaded = yaml.load(_TEMPLATE.read_text(), _TemplateLoader)  # noqa: S506 - a SafeLoader
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def sam() -> str:
    program = shutil.which("sam")
    if program is None:
        pytest.fail("sam is not on the PATH: run `make test`, which installs it")
    return program


def _run(*command: str, directory: Path = _ROOT, umask: int = -1, **variables: str) -> str:
    finished = subprocess.run(
        command,
        cwd=directory,
        umask=umask,
        env={**os.environ, "SAM_CLI_TELEMETRY": "0", **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


@pytest.fixture(scope="module")
def build(sam: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    @functools.cache
    def run(*arguments: str) -> Path:
        directory = tmp_path_factory.mktemp("sam") / "build"
        _run(sam, "build", "--template", str(_TEMPLATE), "--build-dir", str(directory), *arguments)
        return directory

    return run


@pytest.fixture(scope="module", params=["arm64", "x86_64"])
def built(request: pytest.FixtureRequest, build: Callable[..., Path]) -> tuple[str, Path]:
    return request.param, build("--parameter-overrides", f"Architecture={request.param}")


def _modules(directory: Path) -> set[str]:
    """Return every file except compiled bytecode."""
    return {each for each in _fingerprints(directory) if "__pycache__" not in each}


def _fingerprints(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    "path", [_TEMPLATE, _ORGANIZATION, _MONITORING], ids=lambda path: path.name
)
def test_templates_pass_all_checks_of_cfn_lint(path: Path) -> None:
    cfn_lint = Path(sys.executable).with_name("cfn-lint")
    _run(str(cfn_lint), "--include-checks", "I", "--include-experimental", "--", str(path))


@pytest.mark.parametrize(
    "path", [_TEMPLATE, _ORGANIZATION, _MONITORING], ids=lambda path: path.name
)
def test_templates_are_valid_for_sam(sam: str, path: Path) -> None:
    _run(sam, "validate", "--lint", "--template", str(path), "--region", "eu-west-1")


def _is_unbound(statement: dict[str, Any]) -> bool:
    return set(_as_list(statement["Action"])) <= _UNBOUND_ACTIONS


def test_policies_have_no_wildcard_except_repositories_of_account_and_region(
    template: dict[str, Any],
) -> None:
    statements = list(_statements(template["Resources"]))
    assert statements
    for statement in statements:
        # tokens and network interfaces have no ARN before they are created
        names = {"Action", "Principal"} if _is_unbound(statement) else _STATEMENT_PARTS
        for name in names:
            for each in _as_list(statement.get(name)):
                bounded = _OF_MIRRORS.sub("", str(each).replace(_EVERY_REPOSITORY, ""))
                assert "*" not in bounded, statement


def test_no_managed_policy_is_attached(template: dict[str, Any]) -> None:
    for resource in template["Resources"].values():
        assert "ManagedPolicyArns" not in resource["Properties"]
        if resource["Type"] == "AWS::Serverless::Function":
            assert "Role" in resource["Properties"]


def test_failed_invocations_go_to_the_responder(template: dict[str, Any]) -> None:
    resources = template["Resources"]
    destination = resources["ReplicatorFunction"]["Properties"]["EventInvokeConfig"][
        "DestinationConfig"
    ]["OnFailure"]
    assert destination == {"Type": "Lambda", "Destination": {"GetAtt": "ResponderFunction.Arn"}}
    responder = resources["ResponderFunction"]["Properties"]
    assert responder["Handler"] == "responder.lambda_handler"
    assert "Layers" not in responder


def test_every_parameter_is_in_a_group_with_a_label(template: dict[str, Any]) -> None:
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"])
    assert set(interface["ParameterLabels"]) == set(template["Parameters"])


def test_parameter_defaults_equal_the_engines_defaults(template: dict[str, Any]) -> None:
    function = template["Resources"]["ReplicatorFunction"]["Properties"]
    variables = {
        name: str(template["Parameters"][value["Ref"]]["Default"])
        for name, value in function["Environment"]["Variables"].items()
        if isinstance(value, dict) and value.get("Ref") in template["Parameters"]
    }
    assert Settings.from_environment(variables) == Settings()


def test_the_layer_is_built_for_the_requested_architecture(
    built: tuple[str, Path],
) -> None:
    architecture, directory = built
    compiled = list(directory.rglob("*.so"))
    assert compiled
    for library in compiled:
        machine = int.from_bytes(library.read_bytes()[18:20], "little")
        assert machine == _MACHINES[architecture], library.name
        assert re.search(r"\.(cpython-313-[a-z0-9_]+-linux-gnu|abi3)\.so$", library.name)


def test_a_build_has_no_machine_specific_files(built: tuple[str, Path]) -> None:
    names = {path.name for path in built[1].rglob("*")}
    assert not names & {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
    assert not (built[1] / "DependenciesLayer" / "python" / "bin").exists()


def test_the_function_has_only_its_modules(built: tuple[str, Path]) -> None:
    function = built[1] / "ReplicatorFunction"
    handler = _ROOT / "handler"
    modules = {str(path.relative_to(handler)) for path in handler.rglob("*.py")}
    assert _modules(function) == modules


def test_all_imports_of_the_function_are_in_the_layer(built: tuple[str, Path]) -> None:
    _, directory = built
    layer, function = directory / "DependenciesLayer" / "python", directory / "ReplicatorFunction"
    # -S: without installed packages; -B: without new bytecode files
    _run(
        *(sys.executable, "-S", "-B", "-c", "import app, boto3; app.lambda_handler"),
        PYTHONPATH=f"{layer}{os.pathsep}{function}",
    )


def test_the_responder_is_importable_with_its_modules_alone(built: tuple[str, Path]) -> None:
    function = built[1] / "ResponderFunction"
    assert _modules(function) == {
        "custom_resource/__init__.py",
        "custom_resource/mirror_ids.py",
        "custom_resource/response.py",
        "custom_resource/sns.py",
        "custom_resource/stopped_runs.py",
        "responder.py",
    }
    _run(
        *(sys.executable, "-S", "-B", "-c", "import responder; responder.lambda_handler"),
        PYTHONPATH=str(function),
    )


def test_the_layer_is_far_below_lambdas_size_limit(built: tuple[str, Path]) -> None:
    files = (path for path in (built[1] / "DependenciesLayer").rglob("*") if path.is_file())
    assert sum(path.stat().st_size for path in files) < _LAYER_LIMIT_BYTES


def test_builds_are_reproducible_and_for_arm64_by_default(
    sam: str, build: Callable[..., Path], tmp_path: Path
) -> None:
    """Build in another folder with another umask, time zone and file times."""
    explicit = build("--parameter-overrides", "Architecture=arm64")
    elsewhere = tmp_path / "another checkout"
    for name in ("handler", "layers"):
        leftovers = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_ROOT / name, elsewhere / name, ignore=leftovers)
    shutil.copy(_TEMPLATE, elsewhere)
    for path in elsewhere.rglob("*"):
        os.utime(path, (10**9, 10**9))
        path.chmod(0o700 if path.is_dir() else 0o600)
    by_default = tmp_path / "build"
    _run(
        *(sam, "build", "--build-dir", str(by_default)),
        directory=elsewhere,
        umask=0o077,
        TZ="Pacific/Kiritimati",
        LC_ALL="C",
        PYTHONHASHSEED="7",
    )
    for part in ("ReplicatorFunction", "ResponderFunction", "DependenciesLayer"):
        assert _fingerprints(explicit / part) == _fingerprints(by_default / part)
        # SAM names uploads by a hash of the zip file, which includes file modes
        assert _modes(explicit / part) == _modes(by_default / part)


def _modes(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): oct(path.stat().st_mode)
        for path in sorted(directory.rglob("*"))
    }


def _statements(node: Any) -> Iterator[dict[str, Any]]:
    """Find all policy statements, at any depth."""
    if isinstance(node, dict):
        if "Effect" in node:
            yield node
        for value in node.values():
            yield from _statements(value)
    elif isinstance(node, list):
        for value in node:
            yield from _statements(value)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
