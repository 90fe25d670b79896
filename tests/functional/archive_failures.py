"""Copying an invalid archive, and checking the destination afterwards."""

from __future__ import annotations

from pathlib import Path

from local.archives import SavedImage
from local.images import build_image, build_layer
from local.objects import ObjectStorage
from local.registry import RegistryServer
from tests.functional.conftest import Function

LAYERS = [build_layer(400_000 + seed, seed, "none") for seed in range(3)]
SAVED = SavedImage(LAYERS, ["app:1"])


def reason_of(
    function: Function, storage: ObjectStorage, destination: RegistryServer, path: Path
) -> str:
    """Copy an invalid archive over an image, which stays, and return the error's message."""
    kept = build_image([build_layer(1000)])
    for content in kept.blobs.values():
        destination.store.put_blob("app", content)
    destination.store.put_manifest("app", "1", kept.manifest, kept.media_type)
    storage.put("app.tar", path)

    answer = function.create("s3://archives/app.tar", f"{destination.host}/app:1")

    assert answer["Status"] == "FAILED", answer
    assert destination.store.manifest("app", "1").digest == kept.digest
    assert not destination.store.open_uploads
    reason: str = answer["Reason"]
    assert "defect" not in reason
    assert "s3://archives/app.tar" in reason
    return reason
