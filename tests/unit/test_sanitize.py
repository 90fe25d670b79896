from __future__ import annotations

import pytest

from ecr_image_replicator.sanitize import sanitize


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("slow\n down\x1b[2J", "slow down [2J"),
        ("see https://s3.example/a?X-Amz-Signature=abc now", "see https://s3.example/a now"),
        ("you sent Basic YW5uOmh1bnRlcjI=", "you sent Basic …"),
        (
            "you sent 'authorization: bearer eyJhbGci.e30.c2ln', no",
            "you sent 'authorization: bearer …', no",
        ),
        ("Basic authentication is not offered", "Basic authentication is not offered"),
        ("a bearer token is wanted", "a bearer token is wanted"),
        (None, ""),
    ],
)
def test_words_of_others_are_fit_to_be_shown(said: object, shown: str) -> None:
    assert sanitize(said, 200) == shown


def test_what_is_too_long_is_cut() -> None:
    assert sanitize("x" * 300, 200) == "x" * 197 + "..."


def test_authorization_is_taken_out_before_it_could_be_cut_in_two() -> None:
    assert "YW5" not in sanitize("x" * 180 + " Basic YW5uOmh1bnRlcjI=" + "y" * 300, 200)
