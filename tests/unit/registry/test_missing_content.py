from __future__ import annotations

import pytest
from tests.unit.builders import encoded

from ecr_image_replicator.registry.error_responses import missing_content
from ecr_image_replicator.registry.http.messages import HttpResponse
from ecr_image_replicator.registry.http.urls import parse_url

URL = parse_url("https://registry.example/v2/a/manifests/1")


@pytest.mark.parametrize(
    ("status", "code", "message", "count"),
    [
        (404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", 0),
        (404, "BLOB_UPLOAD_UNKNOWN", f"Layers with digests '[sha256:{'a' * 64}]' required", 1),
        (400, "MANIFEST_INVALID", f"Layers with digests '[sha256:{'a' * 64}]' required", 1),
        (404, "MANIFEST_UNKNOWN", f"Images with digests '[sha256:{'a' * 64}]' required", 1),
    ],
)
def test_missing_content_is_recognized_by_code_and_ecr_message(
    status: int, code: str, message: str, count: int
) -> None:
    body = encoded({"errors": [{"code": code, "message": message}]})

    missing = missing_content(HttpResponse(status, {}, body, URL))

    assert missing is not None
    assert len(missing) == count


@pytest.mark.parametrize(("status", "code"), [(400, "MANIFEST_INVALID"), (403, "DENIED")])
def test_other_rejections_are_not_missing_content(status: int, code: str) -> None:
    body = encoded({"errors": [{"code": code, "message": "no"}]})

    assert missing_content(HttpResponse(status, {}, body, URL)) is None
