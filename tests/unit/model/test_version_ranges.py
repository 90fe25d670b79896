from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.model.versions import Version, parse_version, parse_version_range

_NUMBERS = st.lists(st.integers(0, 99), min_size=1, max_size=4).map(tuple)
_SUFFIXES = st.from_regex(
    r"(|-alpine[0-9]{0,2}(\.[0-9]{1,2})?|-rc[0-9]|_[a-z]{1,5})", fullmatch=True
)
_VERSIONS = st.builds(Version, _NUMBERS, _SUFFIXES)


def _write(version: Version, prefix: str = "") -> str:
    return prefix + ".".join(map(str, version.numbers)) + version.suffix


@given(_VERSIONS, st.sampled_from(["", "v"]))
def test_a_formatted_version_is_parsed_unchanged(version: Version, prefix: str) -> None:
    assert parse_version(_write(version, prefix)) == version


@pytest.mark.parametrize("tag", ["latest", "alpine3", "-1", "vv1", "V1", ""])
def test_other_tags_are_not_versions(tag: str) -> None:
    assert parse_version(tag) is None


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">=1.25 <2", ["1.25", "1.25.0", "1.99.9", "v1.30"], ["1.24.9", "2", "2.0.0", "2.0"]),
        (">= 1.25, < 2", ["1.25"], ["2"]),
        (">1.2", ["1.2.0.1", "1.3"], ["1.2", "1.2.0"]),
        ("<=1.2", ["1.2", "1.2.0.0", "0"], ["1.2.0.1"]),
        ("^1.2", ["1.2", "1.9.9"], ["1.1", "2.0"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3", "0.2.2"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4"]),
        ("^0", ["0.9", "0"], ["1"]),
        ("^0.0", ["0.0.9"], ["0.1"]),
        ("~1.2.3", ["1.2.3", "1.2.9"], ["1.3", "1.2.2"]),
        ("~1.2", ["1.2.9"], ["1.3"]),
        ("~1", ["1.9"], ["2"]),
        ("1.*", ["1", "1.2.3"], ["2", "0.9"]),
        ("1.25.*", ["1.25.3"], ["1.26"]),
        ("1.25", ["1.25", "1.25.0"], ["1.25.1"]),
        ("*", ["0", "99"], []),
        ("1.* || >=3 <4", ["1.1", "3.5"], ["2", "4"]),
    ],
)
def test_ranges_contain_the_expected_versions(
    text: str, inside: list[str], outside: list[str]
) -> None:
    found = parse_version_range(text)
    for tag, expected in [*((tag, True) for tag in inside), *((tag, False) for tag in outside)]:
        version = parse_version(tag)
        assert version is not None
        assert found.contains(version) is expected, tag


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        ">=",
        "1.2.3.4.5",
        ">2 <1",
        "<0",
        "1 ||",
        "=>1",
        "1.2.3.4.*",
        "~>1",
        ">=1" * 300,
    ],
)
def test_malformed_ranges_are_invalid(text: str) -> None:
    with pytest.raises(RequestError, match="invalid version range"):
        parse_version_range(text)


@given(_VERSIONS, _VERSIONS, _VERSIONS)
def test_a_range_contains_versions_between_its_bounds(
    low: Version, high: Version, one: Version
) -> None:
    if low.padded >= high.padded:
        return
    bounds = f">={_write(Version(low.numbers))} <{_write(Version(high.numbers))}"
    assert parse_version_range(bounds).contains(one) is (low.padded <= one.padded < high.padded)


@given(_VERSIONS)
def test_caret_and_tilde_ranges_contain_their_version_and_no_lower_one(version: Version) -> None:
    text = _write(Version(version.numbers))
    for operator in ("^", "~", ">=", "<=", "="):
        assert parse_version_range(operator + text).contains(version)
    assert not parse_version_range(f">{text}").contains(version)
    if any(version.numbers):
        assert not parse_version_range(f"<{text}").contains(version)


@given(st.lists(_VERSIONS, max_size=20))
def test_the_longest_of_equal_versions_sorts_last(versions: list[Version]) -> None:
    ordered = sorted(versions, key=lambda each: each.order)
    for before, after in itertools.pairwise(ordered):
        assert before.padded <= after.padded
        if before.padded == after.padded:
            assert len(before.numbers) <= len(after.numbers)


def test_suffixes_are_compared_numerically() -> None:
    tags = ["1.2-alpine3.9", "1.2-alpine3.20", "1.2-alpine3.10"]
    versions = [version for tag in tags if (version := parse_version(tag))]
    assert max(versions, key=lambda each: each.order).suffix == "-alpine3.20"


@given(st.text(max_size=200))
def test_arbitrary_text_is_a_version_range_or_rejected(text: str) -> None:
    parse_version(text)
    try:
        parse_version_range(text)
    except RequestError:
        return
