"""The project version compared with the changelog."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from ecr_image_replicator.version import __version__

ROOT: Final = Path(__file__).parents[2]
CHANGELOG: Final = (ROOT / "CHANGELOG.md").read_text()
_SEMANTIC: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_HEADING: Final = re.compile(r"^## \[([^\]]+)\](?: - (.+))?$", re.MULTILINE)


def test_the_version_is_a_semantic_version() -> None:
    assert _SEMANTIC.fullmatch(__version__)


def test_the_newest_version_of_the_changelog_is_the_project_version() -> None:
    released = [name for name, _ in _HEADING.findall(CHANGELOG) if name != "Unreleased"]
    assert released[0] == __version__


def test_the_changelog_is_in_order() -> None:
    """The newest is first, only the first can be unreleased, all others have a date."""
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


def test_the_changelog_has_only_the_sections_of_keep_a_changelog() -> None:
    sections = set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
