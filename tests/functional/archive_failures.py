"""A copy of an invalid archive, and a check that the destination is unchanged."""

from __future__ import annotations

from pathlib import Path

from local.archives import SavedImage
from local.images import build_image, build_layer
from local.objects import ObjectStorage
from local.registry import RegistryServer
from tests.functional.conftest import Function

LAYERS = [build_layer(400_000 + seed, seed, "none") for seed in range(3)]
SAVED = SavedImage(LAYERS, ["app:1"])


def copy_invalid_archive(
    function: Function, storage: ObjectStorage, destination: RegistryServer, path: Path
) -> str:
    """Copy an invalid archive to an existing tag and return the error message.

    Assert that the tag still refers to its old image and that no upload is open.
    """
    kept = build_image([build_layer(1000)])
    for content in kept.blobs.values():
        destination.store.put_blob("app", content)
    destination.store.put_manifest("app", "1", kept.manifest, kept.media_type)
    storage.put("app.tar", path)

    response = function.create("s3://archives/app.tar", f"{destination.host}/app:1")

    assert response["Status"] == "FAILED", response
    assert destination.store.manifest("app", "1").digest == kept.digest
    assert not destination.store.open_uploads
    reason: str = response["Reason"]
    assert "defect" not in reason
    assert "s3://archives/app.tar" in reason
    return reason
