from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.unit.archives import MemoryObject, tar
from tests.unit.builders import encoded, entry, manifest_document
from tests.unit.thread_switches import switching_threads

from ecr_image_replicator.archive.compression import Compression
from ecr_image_replicator.archive.source import ArchiveSource
from ecr_image_replicator.model.archive_references import ArchiveReference
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import OCI_INDEX, OCI_MANIFEST, ImageManifest


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


def test_the_manifests_of_an_index_are_read_in_parallel() -> None:
    contents = [encoded({**manifest_document(), "annotations": {"n": str(n)}}) for n in range(50)]
    entries = [entry(content, OCI_MANIFEST) for content in contents]
    index = encoded({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    root = entry(index, OCI_INDEX)
    archive = tar(
        ("index.json", encoded({"manifests": [root]})),
        *(
            (f"blobs/{each['digest'].replace(':', '/')}", content)
            for each, content in zip([root, *entries], [index, *contents], strict=True)
        ),
    )
    source = ArchiveSource(ArchiveReference("b", "k"), MemoryObject(archive), Compression.GZIP)
    source.fetch_manifest()

    with switching_threads("_parse"), ThreadPoolExecutor(4) as pool:
        digests = [Digest.parse(each["digest"]) for each in entries]
        manifests = list(pool.map(source.fetch_manifest, digests))

    assert [manifest.content for manifest in manifests] == contents
