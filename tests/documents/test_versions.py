"""One version, wherever it stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

from tests.examples.resolver import load_template

ROOT: Final = Path(__file__).parents[2]
VERSION: Final = str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
CHANGELOG: Final = (ROOT / "CHANGELOG.md").read_text()
_SEMANTIC: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_HEADING: Final = re.compile(r"^## \[([^\]]+)\](?: - (.+))?$", re.MULTILINE)


def test_the_version_is_a_semantic_one() -> None:
    assert _SEMANTIC.fullmatch(VERSION)


def test_the_changelogs_newest_version_is_the_projects() -> None:
    released = [name for name, _ in _HEADING.findall(CHANGELOG) if name != "Unreleased"]
    assert released[0] == VERSION


def test_the_changelog_is_in_order() -> None:
    """Newest first; what is not released in one place, the very top; a date to all others."""
    (newest, date), *others = _HEADING.findall(CHANGELOG)
    assert CHANGELOG.count("\n## ") == 1 + len(others)
    assert newest == "Unreleased" or re.fullmatch(r"\d{4}-\d{2}-\d{2}|Unreleased", date)
    for name, released in others:
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", released), name
    versions = [
        tuple(map(int, name.split(".")))
        for name in (newest, *(name for name, _ in others))
        if name != "Unreleased"
    ]
    assert versions == sorted(set(versions), reverse=True)


def test_every_section_of_a_version_is_one_of_keep_a_changelogs() -> None:
    sections = set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_template_names_no_other_version() -> None:
    metadata = load_template(ROOT / "template.yaml").get("Metadata", {})
    application = metadata.get("AWS::ServerlessRepo::Application", {})
    assert application.get("SemanticVersion", VERSION) == VERSION
