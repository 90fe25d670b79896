from __future__ import annotations

import pytest

from ecr_image_replicator.sanitize import sanitize


@pytest.mark.parametrize(
    ("text", "shown"),
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
        ("see HTTPS://s3.example/?sig=abc?https://x/?y", "see HTTPS://s3.example/"),
        ("cannot GET /v2/a?X-Amz-Signature=abc&b now", "cannot GET /v2/a now"),
        ("is it https or http?", "is it https or http?"),
        ("a lone \ud800 surrogate", "a lone surrogate"),
        (None, ""),
    ],
)
def test_secrets_and_control_characters_are_removed(text: object, shown: str) -> None:
    assert sanitize(text, 200) == shown


def test_a_long_text_is_cut() -> None:
    assert sanitize("x" * 300, 200) == "x" * 197 + "..."


def test_authorization_at_the_length_limit_is_removed_completely() -> None:
    assert "YW5" not in sanitize("x" * 180 + " Basic YW5uOmh1bnRlcjI=" + "y" * 300, 200)


def test_a_cut_text_ends_in_dots_even_if_the_result_is_short() -> None:
    assert sanitize("x?" + " " * 100_000 + "y", 200) == "x?..."
