"""The command and the replicator's parameters at the top of each example stack."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, Final

import pytest
from tests.examples.conftest import ROOT
from tests.examples.resolver import load_template

EXAMPLES: Final = sorted((ROOT / "examples" / "cloudformation").glob("*.yaml"))
REPLICATOR: Final[dict[str, Any]] = load_template(ROOT / "template.yaml")["Parameters"]
#: Resources that CloudFormation creates only with a capability.
_IAM: Final = "AWS::IAM::"


def head(file: Path) -> str:
    """Return the comment at the top of the file, without comment characters."""
    lines = file.read_text().partition("\nAWSTemplateFormatVersion")[0].splitlines()
    assert all(line.startswith("#") for line in lines)
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)


def command(file: Path) -> list[str]:
    """Return the words of the deploy command."""
    (found,) = re.findall(r"^aws cloudformation deploy(?:.*\\\n)*.*$", head(file), re.MULTILINE)
    return shlex.split(found.replace("\\\n", " "))


def value(words: list[str], option: str) -> str:
    return words[words.index(option) + 1] if option in words else ""


def overrides(words: list[str]) -> dict[str, str]:
    if "--parameter-overrides" not in words:
        return {}
    given = words[words.index("--parameter-overrides") + 1 :]
    return dict(each.split("=", 1) for each in given if not each.startswith("--"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_deploy_command_has_all_required_parameters(file: Path) -> None:
    template, words = load_template(file), command(file)

    assert value(words, "--template-file") == str(file.relative_to(ROOT))
    assert value(words, "--stack-name")
    parameters = template["Parameters"]
    required = {name for name, each in parameters.items() if "Default" not in each}
    assert required <= overrides(words).keys() <= parameters.keys()


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_deploy_command_has_the_required_capability(file: Path) -> None:
    template, words = load_template(file), command(file)

    iam = [each for each in template["Resources"].values() if each["Type"].startswith(_IAM)]
    named = any("RoleName" in each["Properties"] for each in iam if each["Type"].endswith("::Role"))
    expected = "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM" if iam else ""
    assert value(words, "--capabilities") == expected


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_header_comment_lists_the_required_parameters_of_the_replicator(file: Path) -> None:
    text = head(file).partition("aws cloudformation deploy")[2]
    rest = re.sub(r"\A(?:.*\\\n)*.*\n?", "", text)
    if "ReplicatorStack" not in load_template(file)["Parameters"]:
        return
    named = {name for name in REPLICATOR if re.search(rf"\b{name}\b", rest)}
    assert named or "default parameters are enough" in rest
