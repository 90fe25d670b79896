"""docs/security.md compared with the limits and permissions of the program."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any, Final

import pytest
from tests.examples.resolver import load_template

from custom_resource.response import MAX_RESPONSE_BYTES

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "security.md").read_text()
_KIB: Final = 1024
_MIB: Final = 1024 * 1024
#: The constants of the numbers in each row of the page.
LIMITS: Final[dict[str, list[tuple[str, str, int]]]] = {
    "a manifest, index or file of an archive that describes it": [
        ("model.manifests", "MAX_MANIFEST_BYTES", _MIB),
        ("model.manifests", "_MAX_LISTS_AND_MAPS", 1),
    ],
    "manifests of an index": [
        ("copy.resolve", "_MAX_MANIFESTS", 1),
        ("copy.resolve", "_MAX_MANIFESTS_BYTES", _MIB),
        ("copy.resolve", "_MAX_INDEX_DEPTH", 1),
    ],
    "referrers of an image": [
        ("referrers.copying", "_MAX_REFERRERS", 1),
        ("referrers.copying", "_MAX_DEPTH", 1),
    ],
    "signatures of an image": [("referrers.signatures", "_MAX_SIGNATURES", 1)],
    "a response of a token service": [("registry.transport", "MAX_BODY_BYTES", _MIB)],
    "the head of a response": [("registry.http.response_heads", "MAX_HEAD_BYTES", _KIB)],
    "a URL": [("registry.http.urls", "MAX_URL_CHARACTERS", 1)],
    "origins with kept connections": [("registry.http.connections", "MAX_ORIGINS", 1)],
    "redirects in a row": [("registry.transport", "_MAX_REDIRECTS", 1)],
    "members of an archive": [("archive.tar_index", "_MAX_MEMBERS", 1)],
    "memory for decompressing an archive": [
        ("archive.compression", "MAX_WINDOW_BYTES", _MIB),
        ("archive.compression", "USUAL_WINDOW_BYTES", _MIB),
    ],
    "expansion of an archive": [
        ("archive.compression", "_MAX_EXPANSION", 1),
        ("archive.compression", "_FREE_EXPANSION_BYTES", 1024 * _MIB),
    ],
    "text of a registry in a message": [("registry.error_bodies", "_MAX_MESSAGE_CHARACTERS", 1)],
}


def table(heading: str) -> dict[str, str]:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", section, re.MULTILINE)
    return {name: value for name, value in rows if name != "What"}


def test_documented_limits_equal_the_constants() -> None:
    written = table("Limits")
    assert written.keys() == {*LIMITS, "a response to CloudFormation"}
    for row, constants in LIMITS.items():
        numbers = [int(each.replace(",", "")) for each in re.findall(r"[\d,]*\d", written[row])]
        module = [
            getattr(importlib.import_module(f"ecr_image_replicator.{name}"), constant) / unit
            for name, constant, unit in constants
        ]
        assert numbers == module, row
    assert written["a response to CloudFormation"] == f"{MAX_RESPONSE_BYTES:,} bytes"


@pytest.mark.parametrize("role", ["ReplicatorRole", "ResponderRole"])
def test_the_responder_has_only_log_permissions(role: str) -> None:
    resource: dict[str, Any] = load_template(ROOT / "template.yaml")["Resources"][role]
    names = [
        policy["PolicyName"]
        for policy in resource["Properties"]["Policies"]
        if "PolicyName" in policy
    ]
    assert "WriteLogs" in names
    assert (names == ["WriteLogs"]) is (role == "ResponderRole")


def test_named_parameters_exist_in_the_template() -> None:
    template = load_template(ROOT / "template.yaml")
    parameters = template["Parameters"]
    named = {
        "AllowedDestinations",
        "AllowedSourceHosts",
        "DestinationRepositories",
        "Roles",
        "Secrets",
        "UntaggableRepositories",
    }
    assert {each for each in named if f"`{each}`" not in PAGE} == set()
    assert named <= parameters.keys()
    # documented defaults
    defaults = {name: parameters[name]["Default"] for name in named}
    assert defaults.pop("DestinationRepositories") == "*"
    assert set(defaults.values()) == {""}
