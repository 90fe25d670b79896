"""The layer's bill of materials, compared with the requirements that the layer is built from."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from ecr_image_replicator.version import __version__

ROOT: Final = Path(__file__).parents[2]
LAYER: Final = ROOT / "layers" / "dependencies"
_PINNED: Final = re.compile(r"^([a-z0-9.-]+)==([^ ;\\]+)", re.MULTILINE)
#: Licences that a package of the layer may have: they permit distribution with the function.
#: If a package offers a choice of licences, one is enough. MPL 2.0 covers only its own files.
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


def test_the_bill_lists_the_locked_packages(bill: dict[str, Any], locked: dict[str, str]) -> None:
    """If this fails, run `make sbom`."""
    assert bill["bomFormat"] == "CycloneDX"
    listed = {normalised(each["name"]): each["version"] for each in bill["components"]}

    assert listed == locked
    assert {each["purl"] for each in bill["components"]} == {
        f"pkg:pypi/{name}@{version}" for name, version in locked.items()
    }


def test_the_bill_lists_the_dependencies_of_every_package(
    bill: dict[str, Any], locked: dict[str, str]
) -> None:
    listed = {normalised(each["ref"].partition("==")[0]) for each in bill["dependencies"]}
    assert listed - {"root-component"} == locked.keys()


def test_the_bill_has_the_version_of_the_project(bill: dict[str, Any]) -> None:
    described = bill["metadata"]["component"]
    assert (described["name"], described["version"]) == ("ecr-image-replicator", __version__)


def test_the_bill_has_no_machine_specific_data(bill: dict[str, Any]) -> None:
    text = json.dumps(bill)
    assert "serialNumber" not in bill
    assert "timestamp" not in bill["metadata"]
    assert "file:" not in text
    assert "/home/" not in text


def test_every_package_of_the_layer_has_an_allowed_licence(locked: dict[str, str]) -> None:
    """Reads the metadata of the installed packages, which are those of the layer."""
    for name, version in locked.items():
        assert importlib.metadata.version(name) == version, "run `make dev`, which installs it"
        assert any(offered <= ALLOWED for offered in licences(name)), (name, licences(name))


def licences(name: str) -> list[set[str]]:
    """Return the licences to choose from; all licences of one set apply together."""
    metadata = importlib.metadata.metadata(name)
    if "License-Expression" in metadata:
        expression = metadata["License-Expression"]
        # no parentheses to parse: AND binds more strongly than OR
        return [set(each.split(" AND ")) for each in expression.split(" OR ")]
    classifiers = {
        each.rpartition(" :: ")[2]
        for each in metadata.get_all("Classifier") or []
        if each.startswith("License :: OSI Approved :: ")
    }
    # classifiers do not distinguish AND from OR: require all
    return [classifiers or set(metadata.get_all("License") or ["nothing"])]
