"""docs/mirrors.md and the examples of mirrors compared with the code."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecr_image_replicator.request.mirror_entries import DEFAULTS_PROPERTIES
from ecr_image_replicator.request.mirror_parsing import KNOWN_MIRROR_PROPERTIES, parse_mirror

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "mirrors.md").read_text()
EXAMPLES = sorted((ROOT / "examples" / "cloudformation").glob("mirror-*.yaml"))


class _Loader(yaml.SafeLoader):
    """Reads ``!Sub text`` as the text, and ``!Ref Name`` as a secret's name."""


def _read(loader: yaml.SafeLoader, tag: str, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    if tag == "Ref":
        return "arn:aws:iam::111111111111:role/x" if "Role" in text else text
    values = {"AccountId": "123456789012", "Region": "eu-west-1", "URLSuffix": "amazonaws.com"}
    text = re.sub(r"\$\{AWS::(\w+)\}", lambda found: values[found[1]], text)
    return text.replace("${BuildAccount}", "111111111111")


_Loader.add_multi_constructor("!", _read)


def _properties(text: str) -> dict[str, Any]:
    template = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    (resource,) = (
        each for each in template["Resources"].values() if each["Type"] == "Custom::ECRImageMirror"
    )
    properties: dict[str, Any] = resource["Properties"]
    return properties


def test_every_property_is_documented() -> None:
    names = {*KNOWN_MIRROR_PROPERTIES, *DEFAULTS_PROPERTIES, "SrcRepository", "DestRepository"}
    own = names - {"ImageArch", "CopyImageIndex", "Compression"}
    assert [name for name in own if f"`{name}`" not in PAGE and "ExternalId" not in name] == []


def test_the_cost_table_is_the_output_of_the_script() -> None:
    computed = runpy.run_path(str(ROOT / "scripts" / "mirror_costs.py"))["table"]()
    assert computed in PAGE


def test_the_first_example_of_the_page_is_a_valid_mirror() -> None:
    (text, *_) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    mirror = parse_mirror(yaml.load(text, yaml.BaseLoader))  # noqa: S506 - texts only
    assert [entry.source_name for entry in mirror.entries] == [
        "docker.io/library/nginx",
        "quay.io/prometheus/prometheus",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_valid_mirrors(path: Path) -> None:
    assert parse_mirror(_properties(path.read_text())).entries
