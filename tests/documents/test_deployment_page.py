"""docs/deployment.md compared with the templates."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.examples.resolver import load_template

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "deployment.md").read_text()
TEMPLATE: Final[dict[str, Any]] = load_template(ROOT / "template.yaml")
ORGANIZATION: Final[dict[str, Any]] = load_template(ROOT / "organization.yaml")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of all tables under a heading."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (`.+) \|$", text, re.MULTILINE)
    return [line.split(" | ") for line in lines]


def test_every_parameter_is_described_as_in_the_template() -> None:
    written = {
        name.strip("`"): (default.strip("`"), meaning.replace("\\*", "*"))
        for name, default, meaning in rows("Parameters")
    }
    assert written == {
        name: (str(each["Default"]) or "none", " ".join(each["Description"].split()))
        for name, each in TEMPLATE["Parameters"].items()
    }


def test_parameters_are_in_the_groups_of_the_template() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    text = PAGE.partition("\n## Parameters\n")[2].partition("\n## ")[0]
    headings = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert headings == [each["Label"]["default"] for each in groups]
    order = [name for each in groups for name in each["Parameters"]]
    assert [row[0].strip("`") for row in rows("Parameters")] == order


def test_every_output_is_described() -> None:
    names = [name for row in rows("Outputs") for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(names) == sorted(TEMPLATE["Outputs"])
    exported = [name for row in rows("Outputs") for name in re.findall(r"`STACK-(\w+)`", row[1])]
    assert sorted(exported) == sorted(
        each["Export"]["Name"]["Fn::Sub"].partition("-")[2]
        for each in TEMPLATE["Outputs"].values()
        if "Export" in each
    )


def test_the_organization_command_sets_all_parameters_without_default() -> None:
    required = {name for name, each in ORGANIZATION["Parameters"].items() if "Default" not in each}
    (command,) = re.findall(r"--template-file organization.yaml.+?```", PAGE, re.DOTALL)
    assert set(re.findall(r"\b(\w+)=", command)) == required


def test_the_ca_bundle_file_name_matches_the_function() -> None:
    variables = TEMPLATE["Resources"]["ReplicatorFunction"]["Properties"]["Environment"]
    bundle = variables["Variables"]["SSL_CERT_FILE"]["Fn::If"][1]
    assert f"`{bundle}`" in PAGE
    assert f"zip authorities.zip {Path(bundle).name}" in PAGE


def test_the_documented_script_is_valid_shell() -> None:
    script = ROOT / "scripts" / "check_in_aws.sh"
    assert f"../{script.relative_to(ROOT)}" in PAGE
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_the_first_deployment_has_ten_commands_and_the_stack_of_the_readme() -> None:
    section = PAGE.partition("\n## First deployment\n")[2].partition("\n## ")[0]
    block = re.findall(r"^```console aws\n(.+?)^```$", section, re.MULTILINE | re.DOTALL)[0]
    commands = re.sub(r"<<'END'\n.*?^END$", "", block, flags=re.MULTILINE | re.DOTALL)
    assert len(commands.strip().splitlines()) == 10
    stack = re.findall(r"<<'END'\n(.*?)^END$", block, re.MULTILINE | re.DOTALL)[0]
    assert stack in (ROOT / "README.md").read_text()
