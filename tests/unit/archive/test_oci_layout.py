from __future__ import annotations

from typing import Any

import pytest
from tests.unit.archives import MemoryObject, tar
from tests.unit.builders import encoded, entry, manifest_document

from ecr_image_replicator.archive.compression import Compression
from ecr_image_replicator.archive.source import ArchiveSource
from ecr_image_replicator.model.archive_references import ArchiveReference
from ecr_image_replicator.model.manifests import OCI_MANIFEST, ImageManifest


@pytest.mark.parametrize("layers", [{}, {"layers": None}, {"layers": []}])
def test_a_manifest_without_layers_is_read(layers: dict[str, Any]) -> None:
    document = {**manifest_document(), **layers}
    if not layers:
        del document["layers"]
    content = encoded(document)
    root = entry(content, OCI_MANIFEST)
    archive = tar(
        ("index.json", encoded({"manifests": [root]})),
        (f"blobs/{root['digest'].replace(':', '/')}", content),
    )
    source = ArchiveSource(ArchiveReference("b", "k"), MemoryObject(archive), Compression.GZIP)

    manifest = source.fetch_manifest()

    assert isinstance(manifest, ImageManifest)
    assert manifest.content == content
    assert manifest.layers == ()
