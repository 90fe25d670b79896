from __future__ import annotations

import pytest

from ecr_image_replicator.registry.http.link_header import find_next_link


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ('</v2/x?n=1>; rel="next"', "/v2/x?n=1"),
        ("</v2/x>;rel=next", "/v2/x"),
        ("</v2/x>; REL=Next", "/v2/x"),
        ('</v2/x> ; title="a, b; c" ; rel="prev next"', "/v2/x"),
        ('<a>; rel="prev", <b>; rel="next", <c>; rel="next"', "b"),
        ('<a>; title="<b>; rel=next"', None),
        ('<a>; title="\\"<b>; rel=next", <c>; rel=next', "c"),
        ('<a>; title="no end, <b>; rel=next', None),
        ("<a>; rel=next-archive", None),
        ("<a>; anchor=x; rel = next", "a"),
        ("<a,b;c>; rel=next", "a,b;c"),
        ("<a>, rel=next", None),
        ("<a", None),
        ("rel=next", None),
        ("", None),
    ],
)
def test_the_url_of_the_next_page_is_parsed(value: str, target: str | None) -> None:
    assert find_next_link(value) == target
