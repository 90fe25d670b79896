"""Every command on every page runs in a test, or its block says what it needs.

``console`` blocks need this repository alone. A second word names what else a block needs, such as
``console aws``.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import botocore.session
import pytest
from botocore.exceptions import UnknownServiceError
from botocore.model import ServiceModel
from tests.documents.shell_blocks import (
    NEEDS,
    PAGES,
    ROOT,
    Block,
    aws_commands,
    blocks,
    fences,
    indented_code,
    local_commands,
    name_of,
)
from tests.examples.resolver import load_template

#: Commands that a test elsewhere runs, with that test.
RUN_BY: Final = {
    "python3 -m venv .venv": "tests/interop/test_package.py::installed",
    ". .venv/bin/activate": "tests/interop/test_package.py::installed",
    "pip install .": "tests/interop/test_package.py::installed",
    "pip install ecr_image_replicator_cdk-0.1.0-py3-none-any.whl": (
        "tests/interop/test_release.py::test_the_construct_is_usable_from_its_wheel_alone"
    ),
    "make cloud": "tests/local/test_loopback_program.py::cloud",
    "make demo": "tests/documents/test_running_commands.py::test_the_demo_copies_an_image_twice",
    "make demo LOGS=1": (
        "tests/documents/test_running_commands.py::test_the_demo_copies_an_image_twice"
    ),
    "make invoke EVENT=events/create-whole-index.json": (
        "tests/interop/test_local_invocation.py::test_make_invoke_prints_a_readable_response"
    ),
}
#: Beginnings of commands that tests of `test_running_commands` and of this module run.
RUN_BY_PATTERN: Final = {
    "make ": "tests/documents/test_commands.py::test_make_knows_the_target_and_its_variables",
    "apt-get install ": "tests/documents/test_commands.py::test_ci_installs_the_same_packages",
    "ecr-image-replicator ": (
        "tests/documents/test_running_commands.py::test_documented_commands_succeed"
    ),
    "(set -a; . .cloud/environment; ": (
        "tests/documents/test_running_commands.py::test_a_program_uses_the_local_cloud"
    ),
    ".venv/bin/python -m local.registry ": (
        "tests/documents/test_running_commands.py::test_a_registry_with_quirks_starts"
    ),
}
#: Commands of the AWS command line that are not API operations.
_OWN_COMMANDS: Final = {
    ("cloudformation", "deploy"),
    ("logs", "tail"),
    ("s3", "cp"),
}
#: Options that the command line adds to operations.
_OWN_OPTIONS: Final = {"publish-layer-version": {"zip-file"}}
#: Options of every command.
_GLOBAL_OPTIONS: Final = {"cli-binary-format", "output", "query", "region"}
MAKEFILE: Final = (ROOT / "Makefile").read_text()


def _runner(command: str) -> str | None:
    if command in RUN_BY:
        return RUN_BY[command]
    return next((test for start, test in RUN_BY_PATTERN.items() if command.startswith(start)), None)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_are_in_console_blocks(page: Path) -> None:
    for info, text in fences(page):
        word, _, needs = info.partition(" ")
        assert word not in {"bash", "sh", "shell", "zsh"}, f"use console: {text}"
        if word == "console":
            assert needs in {"", *NEEDS}, info
            assert not re.search(r"^\$ ", text, re.MULTILINE), f"a prompt cannot be pasted: {text}"
    assert not indented_code(page)


@pytest.mark.parametrize("block", list(blocks()), ids=lambda block: name_of(block.page))
def test_a_block_declares_exactly_what_it_needs(block: Block) -> None:
    for word, beginning in NEEDS.items():
        needs_it = any(beginning.search(command) for command in block.commands)
        assert needs_it == (word == block.needs) or block.needs == "docker", block.text


def test_every_other_command_is_run_by_a_test() -> None:
    found = local_commands()
    assert len(found) > 20
    assert {command for command in found if _runner(command) is None} == set()
    assert RUN_BY.keys() - found.keys() == set()
    for start in RUN_BY_PATTERN:
        assert any(command.startswith(start) for command in found), start


@pytest.mark.parametrize("test", sorted({*RUN_BY.values(), *RUN_BY_PATTERN.values()}))
def test_the_test_that_runs_a_command_exists(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    assert name in {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}


@pytest.mark.parametrize("command", [each for each in local_commands() if each.startswith("make ")])
def test_make_knows_the_target_and_its_variables(command: str) -> None:
    _, *words = shlex.split(command)
    finished = subprocess.run(
        ["make", "--dry-run", *words, f"PYTHON={sys.executable}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert finished.returncode == 0, finished.stderr
    for name in re.findall(r"(\w+)=", " ".join(words)):
        assert f"$({name})" in MAKEFILE, f"make does not read {name}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_targets_in_the_text_exist(page: Path) -> None:
    targets = {*re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)}
    for words in re.findall(r"`make ([^`]+)`", page.read_text()):
        named = {each for each in shlex.split(words) if "=" not in each}
        assert named <= targets, words


def test_ci_installs_the_same_packages() -> None:
    (command,) = (each for each in local_commands() if each.startswith("apt-get "))
    script = (ROOT / ".ci" / "run").read_text()
    (listed,) = re.findall(r"^for package in (.*); do$", script, re.MULTILINE)
    installed = {*listed.split(), *re.findall(r"missing\+=\(([\w-]+)\)", script)}
    assert {*command.split()[2:]} == installed - {"python3-venv"}


def _options(words: list[str]) -> list[str]:
    return [each.removeprefix("--") for each in words if each.startswith("--")]


@pytest.mark.parametrize(
    ("page", "words"),
    list(aws_commands()),
    ids=lambda each: each if isinstance(each, str) else each[2],
)
def test_aws_knows_the_command_and_its_options(page: str, words: list[str]) -> None:  # noqa: ARG001 - for its id
    _, service, command, *rest = words
    if (service, command) in _OWN_COMMANDS:
        return
    session = botocore.session.get_session()
    try:
        model = ServiceModel(
            session.get_component("data_loader").load_service_model(service, "service-2")
        )
    except UnknownServiceError:
        pytest.fail(f"no service {service}")
    operations = {botocore.xform_name(name, "-"): name for name in model.operation_names}
    assert command in operations, command
    shape = model.operation_model(operations[command]).input_shape
    members = {botocore.xform_name(name, "-") for name in shape.members} if shape else set()
    own = _OWN_OPTIONS.get(command, set())
    assert {*_options(rest)} <= members | own | _GLOBAL_OPTIONS


@pytest.mark.parametrize(
    "words",
    [words for _, words in aws_commands() if words[1:3] == ["cloudformation", "deploy"]],
    ids=lambda words: words[words.index("--template-file") + 1],
)
def test_deployed_templates_have_the_parameters(words: list[str]) -> None:
    file = words[words.index("--template-file") + 1]
    if file == "first-image.yaml":
        return
    assert {*_options(words)} <= {
        *("capabilities", "parameter-overrides", "s3-bucket", "stack-name", "template-file")
    }
    parameters = {*load_template(ROOT / file)["Parameters"], "ArtifactBucket"}
    if "--parameter-overrides" in words:
        given = words[words.index("--parameter-overrides") + 1 :]
        assert {each.partition("=")[0] for each in given if "=" in each} <= parameters
