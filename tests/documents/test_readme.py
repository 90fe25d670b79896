"""The README's property names compared with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from tests.examples.resolver import load_template

from ecr_image_replicator.request.parsing import KNOWN_PROPERTIES, parse_request

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()


def section(heading: str) -> str:
    return README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_every_property_is_listed_once() -> None:
    rows = re.findall(r"^\| [^`|]+ \| (.+) \|$", section("Properties and values"), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(names) == sorted({*KNOWN_PROPERTIES, "Trigger"})


def test_the_example_stack_has_valid_properties(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.+?)```", section("A stack"), re.DOTALL)
    file = tmp_path / "stack.yaml"
    file.write_text(text)
    stack: dict[str, Any] = load_template(file)
    exports = load_template(ROOT / "template.yaml")["Outputs"].values()
    properties = dict(stack["Resources"]["Image"]["Properties"])
    imported = properties.pop("ServiceToken")["Fn::ImportValue"]
    name = stack["Resources"]["Repository"]["Properties"]["RepositoryName"]
    uri = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{name}"
    template = properties["DestImage"]["Fn::Sub"]
    properties["DestImage"] = template.replace("${Repository.RepositoryUri}", uri)

    request = parse_request(properties)

    assert str(request.source) == "public.ecr.aws/docker/library/nginx:1.27"
    assert imported in {
        each["Export"]["Name"]["Fn::Sub"].replace("${AWS::StackName}", "ecr-image-replicator")
        for each in exports
        if "Export" in each
    }


def test_each_of_ten_scenarios_has_an_example_that_a_test_executes() -> None:
    """By the name of the example's file or folder, in the text of a test of examples."""
    rows = re.findall(r"^\| ([^|]+) \| (.+) \|$", section("By scenario"), re.MULTILINE)[1:]
    tests = "".join(each.read_text() for each in (ROOT / "tests" / "examples").glob("test_*.py"))
    assert len(rows) == 10
    for scenario, links in rows:
        targets = [Path(each) for each in re.findall(r"\((examples/[^)]+)\)", links)]
        assert targets, scenario
        for target in targets:
            name = target.stem if target.suffix == ".yaml" else target.parent.name
            assert (ROOT / target).exists()
            assert re.search(rf'["/`]{re.escape(name)}["`/]', tests), name
