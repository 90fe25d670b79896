"""layers/dependencies/sbom.cdx.json against the lock that the layer is built from."""

from __future__ import annotations

import importlib.metadata
import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
LAYER: Final = ROOT / "layers" / "dependencies"
_PINNED: Final = re.compile(r"^([a-z0-9.-]+)==([^ ;\\]+)", re.MULTILINE)
#: What a package may be licensed under to be in the layer, which is handed on with the function.
#: Of several that a package may be taken under, one is enough. MPL 2.0 binds its own files only.
ALLOWED: Final = frozenset(
    {
        "Apache License 2.0",
        "Apache Software License",
        "Apache-2.0",
        "BSD License",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "MIT",
        "MIT License",
        "MIT No Attribution License (MIT-0)",
        "MIT-0",
        "Mozilla Public License 2.0 (MPL 2.0)",
        "PSF-2.0",
    }
)


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    loaded = json.loads((LAYER / "sbom.cdx.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def locked() -> dict[str, str]:
    return dict(_PINNED.findall((LAYER / "requirements.txt").read_text()))


def test_the_bill_has_what_the_lock_has(bill: dict[str, Any], locked: dict[str, str]) -> None:
    """`make sbom` writes it anew."""
    assert bill["bomFormat"] == "CycloneDX"
    listed = {normalised(each["name"]): each["version"] for each in bill["components"]}

    assert listed == locked
    assert {each["purl"] for each in bill["components"]} == {
        f"pkg:pypi/{name}@{version}" for name, version in locked.items()
    }


def test_the_bill_says_what_needs_what(bill: dict[str, Any], locked: dict[str, str]) -> None:
    needed = {normalised(each["ref"].partition("==")[0]) for each in bill["dependencies"]}
    assert needed - {"root-component"} == locked.keys()


def test_the_bill_is_of_this_version(bill: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    described = bill["metadata"]["component"]
    assert (described["name"], described["version"]) == (project["name"], project["version"])


def test_the_bill_is_the_same_whoever_writes_it(bill: dict[str, Any]) -> None:
    text = json.dumps(bill)
    assert "serialNumber" not in bill
    assert "timestamp" not in bill["metadata"]
    assert "file:" not in text
    assert "/home/" not in text


def test_the_layer_has_no_licence_that_was_not_looked_at(locked: dict[str, str]) -> None:
    """The tests run on what the layer is built of: the installed packages say it themselves."""
    for name, version in locked.items():
        assert importlib.metadata.version(name) == version, "run `make test`, which installs it"
        assert any(offered <= ALLOWED for offered in licences(name)), (name, licences(name))


def licences(name: str) -> list[set[str]]:
    """The licences that a package may be taken under; of those in one set, all hold."""
    metadata = importlib.metadata.metadata(name)
    if "License-Expression" in metadata:
        expression = metadata["License-Expression"]
        # without parentheses, which ALLOWED would not have: AND binds more strongly than OR
        return [set(each.split(" AND ")) for each in expression.split(" OR ")]
    classifiers = {
        each.rpartition(" :: ")[2]
        for each in metadata.get_all("Classifier") or []
        if each.startswith("License :: OSI Approved :: ")
    }
    # classifiers do not tell "and" from "or"
    return [classifiers or set(metadata.get_all("License") or ["nothing"])]
