from __future__ import annotations

from types import SimpleNamespace

import pytest

from custom_resource.failures import with_log_stream


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("Images is required", "Images is required. Log stream: 2026/[$LATEST]0"),
        ("It failed. Set SrcCreds.", "It failed. Set SrcCreds. Log stream: 2026/[$LATEST]0"),
        ("Did you mean 'Tags'?", "Did you mean 'Tags'? Log stream: 2026/[$LATEST]0"),
    ],
)
def test_a_reason_ends_with_a_period_before_the_log_stream(reason: str, expected: str) -> None:
    context = SimpleNamespace(log_stream_name="2026/[$LATEST]0")
    assert with_log_stream(reason, context) == expected
