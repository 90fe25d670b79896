"""Challenges of any form, compared with another parser."""

from __future__ import annotations

import urllib.request
from collections import Counter
from typing import SupportsIndex

from hypothesis import given
from hypothesis import strategies as st

from ecr_image_replicator.registry.challenges import parse_challenges


class _CountedText(str):
    """Text that counts how often each of its characters is read, in parts of itself as well."""

    reads: Counter[int]

    def __new__(cls, text: str) -> _CountedText:
        self = super().__new__(cls, text)
        self.reads = Counter[int]()
        return self

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        text = super().__getitem__(key)
        if not isinstance(key, slice):
            self.reads[int(key)] += 1
            return text
        start, stop, _ = key.indices(len(self))
        if start:
            self.reads.update(range(start, stop))
            return text
        cut = _CountedText(text)
        cut.reads = self.reads
        return cut

    def startswith(self, prefix: str | tuple[str, ...], *position: SupportsIndex | None) -> bool:
        self.reads.update(int(each) for each in position if each is not None)
        return super().startswith(prefix, *position)


_TOKENS = st.text("abcXYZ019-_", min_size=1, max_size=8)
_VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
_PARAMETERS = st.dictionaries(_TOKENS.map(str.lower), _VALUES, min_size=1, max_size=4)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@given(st.lists(st.tuples(_TOKENS, _PARAMETERS), min_size=1, max_size=3), st.sampled_from(", \t"))
def test_valid_challenges_round_trip(
    challenges: list[tuple[str, dict[str, str]]], blank: str
) -> None:
    header = ", ".join(
        f"{scheme} "
        + f",{blank}".join(f"{name}={_quoted(value)}" for name, value in parameters.items())
        for scheme, parameters in challenges
    )
    found = [(each.scheme, each.parameters) for each in parse_challenges([header])]
    assert found == [(scheme.lower(), parameters) for scheme, parameters in challenges]


@given(_PARAMETERS)
def test_pythons_parser_agrees_on_parameters(parameters: dict[str, str]) -> None:
    # the parser of urllib.request does not remove escapes within values
    plain = {name: value.replace("\\", "").replace('"', "") for name, value in parameters.items()}
    header = ", ".join(f'{name}="{value}"' for name, value in plain.items())
    items = urllib.request.parse_http_list(header)
    expected = urllib.request.parse_keqv_list(items)
    [found] = parse_challenges([f"Bearer {header}"])
    assert found.parameters == expected


@given(st.text() | st.text(alphabet='Bearer =",\\\t/:%', max_size=200))
def test_arbitrary_text_is_parsed_without_an_error(header: str) -> None:
    for challenge in parse_challenges([header]):
        assert challenge.scheme
        assert challenge.scheme == challenge.scheme.lower()


def test_a_header_is_parsed_in_linear_time() -> None:
    for unit in (" ", "a", "=", ",", '"', "\\", "a=", 'a="', "a ", 'Bearer realm="x",', "\t,"):
        header = _CountedText("Bearer " + unit * (12_000 // len(unit)))
        parse_challenges([header])
        assert len(header) <= header.reads.total()
        assert max(header.reads.values()) <= 6, unit


def test_the_end_of_an_endless_header_is_not_read() -> None:
    header = _CountedText("Bearer " + "a" * 100_000)
    parse_challenges([header])
    assert max(header.reads) <= 16 * 1024
