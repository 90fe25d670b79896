"""Challenges of any form, compared with another parser."""

from __future__ import annotations

import time
import urllib.request

from hypothesis import given
from hypothesis import strategies as st

from ecr_image_replicator.registry.challenges import parse_challenges

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


def test_worst_case_headers_are_parsed_in_linear_time() -> None:
    for unit in (" ", "a", "=", ",", '"', "\\", "a=", 'a="', "a ", 'Bearer realm="x",', "\t,"):
        begun = time.process_time()
        parse_challenges(["Bearer " + unit * (60_000 // len(unit))])
        assert time.process_time() - begun < 0.5, unit
