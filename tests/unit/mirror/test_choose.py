from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecr_image_replicator.mirror.choose import TagChoice, choose_tags
from ecr_image_replicator.model.tag_patterns import is_digest_tag
from ecr_image_replicator.request.mirror import Selection
from ecr_image_replicator.request.mirror_parsing import parse_mirror

_TAGS = [
    "latest",
    "1.24.0",
    "1.25.0",
    "1.25.3",
    "1.26.0",
    "1.26.1",
    "2.0.0",
    "1.25.3-alpine3.18",
    "1.26.1-alpine3.20",
    "1.26.1-alpine",
    "1.27.0-rc1",
    "stable-1",
    "stable-2",
]
_SOME_TAGS = st.lists(
    st.one_of(
        st.from_regex(r"v?[0-9]{1,2}(\.[0-9]{1,2}){0,3}(-alpine[0-9]?|-rc[0-9])?", fullmatch=True),
        st.from_regex(r"(latest|stable|edge)(-[0-9])?", fullmatch=True),
        st.just("sha256-" + "a" * 64 + ".sig"),
        st.just("sha256:" + "a" * 64),
        st.text(max_size=10),
    ),
    max_size=40,
)


def _selection(**properties: Any) -> Selection:
    entry = {"SrcRepository": "r.example/a", "DestRepository": "d.example/a", **properties}
    selection = parse_mirror({"Repositories": [entry]}).entries[0].selection
    assert selection is not None
    return selection


def _chosen(tags: list[str], **properties: Any) -> list[str]:
    return [each.tag for each in choose_tags(tags, _selection(**properties)).chosen]


def test_every_tag_is_selected_by_default() -> None:
    assert set(_chosen(_TAGS)) == set(_TAGS)


def test_globs_and_exact_names_select_tags() -> None:
    assert _chosen(_TAGS, Tags=["latest", "stable-*"]) == ["latest", "stable-1", "stable-2"]


def test_a_version_range_selects_releases_only() -> None:
    assert _chosen(_TAGS, Versions=">=1.25 <2") == ["1.25.0", "1.25.3", "1.26.0", "1.26.1"]


def test_a_suffix_matches_the_text_after_the_version() -> None:
    assert _chosen(_TAGS, Versions=">=1.25 <2", Suffix="-alpine*") == [
        "1.26.1-alpine",
        "1.25.3-alpine3.18",
        "1.26.1-alpine3.20",
    ]


def test_newest_selects_the_highest_versions_in_addition_to_listed_tags() -> None:
    assert _chosen(_TAGS, Versions="1.*", Newest=2, Tags="latest,1.24.0") == [
        "1.24.0",
        "1.26.0",
        "1.26.1",
        "latest",
    ]


def test_a_listed_tag_does_not_count_for_newest() -> None:
    assert _chosen(_TAGS, Versions="1.*", Newest=2, Tags="1.26.1") == ["1.25.3", "1.26.0", "1.26.1"]


def test_excluded_versions_do_not_count_for_newest() -> None:
    assert _chosen(_TAGS, Versions="1.*", Newest=1, Exclude=["1.26.*"]) == ["1.25.3"]


def test_the_longest_of_equal_versions_is_the_newest() -> None:
    assert _chosen(["1.25", "1", "1.25.0"], Versions="*", Newest=1) == ["1.25.0"]


def test_excluded_tags_have_a_reason() -> None:
    choice = choose_tags(_TAGS, _selection(Versions="1.*", Newest=1, Exclude=["1.26.1"]))
    reasons = {each.tag: each.reason for each in choice.left_out}
    assert reasons["1.26.1"] == "excluded by 1.26.1"
    assert reasons["1.25.3"] == "not among the newest 1"
    assert choice.chosen[0].reason == "version in 1.*"
    assert len(choice.left_out) == 4


def test_a_missing_exact_tag_is_reported_and_a_glob_without_matches_is_a_warning() -> None:
    choice = choose_tags(["a"], _selection(Tags=["b", "c*"], Versions="9.*"))
    assert choice.missing == ("b",)
    assert choice.warnings == ("no tag matches c*", "no tag matches the versions 9.*")


def test_invalid_tags_and_digest_tags_are_skipped_with_a_warning() -> None:
    listed = ["sha256:" + "0" * 64, "sha256-" + "0" * 64 + ".sig", "ok"]
    choice = choose_tags(listed, _selection())
    assert [each.tag for each in choice.chosen] == ["ok"]
    assert len(choice.warnings) == 2
    assert "not tags" in choice.warnings[0]
    assert "digests" in choice.warnings[1]


@pytest.mark.parametrize("options", [{}, {"Versions": ">=1 <40", "Newest": 3, "Exclude": "*-rc*"}])
@given(tags=_SOME_TAGS)
def test_each_tag_is_either_selected_or_omitted(tags: list[str], options: dict[str, Any]) -> None:
    choice = choose_tags(tags, _selection(**options))
    chosen = {each.tag for each in choice.chosen}
    left_out = {each.tag for each in choice.left_out}
    assert len(chosen) == len(choice.chosen)
    assert not chosen & left_out
    assert chosen | left_out <= set(tags)
    assert not any(map(is_digest_tag, chosen))


@given(tags=_SOME_TAGS, count=st.integers(1, 5))
def test_the_selection_does_not_depend_on_the_order_of_the_tags(
    tags: list[str], count: int
) -> None:
    selection = _selection(Versions="*", Newest=count, Tags="latest")
    once = choose_tags(tags, selection)
    again = choose_tags(list(reversed(tags)), selection)
    assert _without_examples(once) == _without_examples(again)
    versions = [each for each in once.chosen if each.tag != "latest"]
    assert len(versions) <= count


def _without_examples(choice: TagChoice) -> tuple[Any, ...]:
    return choice.chosen, choice.left_out, choice.missing
