from __future__ import annotations

import pytest
from benchmarks.instructions import parse_instructions, table

_CALLGRIND = """\
events: Ir
summary: 1175
ob=(1) /usr/bin/python
fl=(1) ceval.c
fn=(1) eval
10 100
+2 50
cob=(2) /usr/lib/libcrypto.so.3
cfn=(2) sha256
calls=3 7
* 1000
-1 25

ob=(2)
fn=(2)
0 1000
"""


def test_instructions_are_counted_for_each_object_file() -> None:
    assert parse_instructions(_CALLGRIND) == {
        "/usr/bin/python": 175,
        "/usr/lib/libcrypto.so.3": 1000,
    }


@pytest.mark.parametrize(
    ("name", "count", "is_marked"),
    [
        ("an image of one layer", 1000, False),
        ("an image of one layer", 1099, False),
        ("an image of one layer", 1100, True),
        ("an image of one layer", 900, True),
        ("a mebibyte", 1499, False),
        ("a mebibyte", 500, True),
    ],
)
def test_a_change_above_that_between_runs_is_marked(name: str, count: int, is_marked: bool) -> None:
    assert ("**changed**" in table({name: count}, {name: 1000})) is is_marked
