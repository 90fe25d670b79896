"""The test references of docs/compatibility.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
ROWS = re.findall(
    r"^\| (?!Registry or program|---)(.+) \|$",
    (DOCS / "compatibility.md").read_text(),
    re.MULTILINE,
)


@pytest.mark.parametrize("row", ROWS, ids=[row[:40] for row in ROWS])
def test_a_row_refers_to_an_existing_test(row: str) -> None:
    cells = row.split(" | ")
    assert len(cells) == 4
    (named,) = re.findall(r"\[test\]\(([^)]+)\)", cells[3])
    assert (DOCS / named).resolve().is_file()
