from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecr_image_replicator.registry.challenges import Challenge, parse_challenges

REALM = "https://auth.example/token"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        ("Basic", [Challenge("basic", {})]),
        ("", []),
        (
            f'Bearer realm="{REALM}",service="s",scope="repository:a:pull,push"',
            [
                Challenge(
                    "bearer", {"realm": REALM, "service": "s", "scope": "repository:a:pull,push"}
                )
            ],
        ),
        (
            'Bearer Realm = "r" , SERVICE=s, Basic realm="b, c=d"',
            [
                Challenge("bearer", {"realm": "r", "service": "s"}),
                Challenge("basic", {"realm": "b, c=d"}),
            ],
        ),
        (
            'NTLM, Negotiate abc==, Basic realm="x"',
            [
                Challenge("ntlm", {}),
                Challenge("negotiate", {"abc": "="}),
                Challenge("basic", {"realm": "x"}),
            ],
        ),
        (r'Basic realm="a \"b\" \\c"', [Challenge("basic", {"realm": r'a "b" \c'})]),
        ('Basic realm="first",realm="second"', [Challenge("basic", {"realm": "first"})]),
        (
            'Bearer realm="r" service="s" scope="a:b:pull"',
            [Challenge("bearer", {"realm": "r", "service": "s", "scope": "a:b:pull"})],
        ),
        (
            "Bearer realm=https://auth.example/token?a=b,service=s",
            [Challenge("bearer", {"realm": "https://auth.example/token?a=b", "service": "s"})],
        ),
        (
            'Basic realm="x" , , Bearer realm=/token',
            [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "/token"})],
        ),
        ('Bearer realm="without an end', [Challenge("bearer", {"realm": "without an end"})]),
        ('=, realm="of nothing"', []),
        ('Bearer realm="r";service="s"', [Challenge("bearer", {"realm": "r", "service": "s"})]),
    ],
)
def test_a_header_is_parsed_into_its_challenges(value: str, expected: list[Challenge]) -> None:
    assert parse_challenges([value]) == expected


def test_challenges_of_several_headers_are_combined() -> None:
    assert [each.scheme for each in parse_challenges(["Bearer a=b", "Basic c=d"])] == [
        "bearer",
        "basic",
    ]


def test_a_long_header_is_cut_and_parsed_in_linear_time() -> None:
    [challenge] = parse_challenges(["Bearer " + 'a="' * 1_000_000])
    assert len(challenge.parameters) <= 16 * 1024


@given(st.lists(st.text(alphabet='Bearbsic="\\, \t@:/é\x00', max_size=60) | st.text(), max_size=3))
def test_arbitrary_headers_are_parsed(values: list[str]) -> None:
    for challenge in parse_challenges(values):
        assert challenge.scheme == challenge.scheme.lower()
