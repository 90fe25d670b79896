from __future__ import annotations

import pytest

from ecr_image_replicator.registry.http.messages import status_text


@pytest.mark.parametrize(
    ("status", "text"),
    [(404, "404 Not Found"), (407, "407 Proxy Authentication Required"), (599, "599")],
)
def test_a_status_is_described_with_its_reason_phrase(status: int, text: str) -> None:
    assert status_text(status) == text
