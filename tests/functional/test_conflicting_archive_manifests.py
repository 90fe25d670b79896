"""Archives whose manifest.json and index.json describe different images.

The description that agrees with the config's diff_ids is used, or the message says what disagrees.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from local.archives import ArchiveFile, build_export, write_tar
from local.archives.oci import layout_files
from local.images import Image, Layer, build_image, build_layer
from local.objects import ObjectStorage
from local.registry import RegistryServer
from local.registry.digests import digest_of
from tests.functional.conftest import Function
from tests.functional.copied_images import config_of, diff_ids_of, manifest_of

UNCOMPRESSED = [build_layer(50_000 + seed, seed, "none") for seed in range(3)]
COMPRESSED = [build_layer(50_000 + seed, seed, "gzip") for seed in range(3)]
BOTH = pytest.mark.parametrize(
    "right", [UNCOMPRESSED, COMPRESSED], ids=["uncompressed", "compressed"]
)


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """A function that copies archives to one registry."""

    function: Function
    storage: ObjectStorage
    destination: RegistryServer

    def copy(self, path: Path) -> dict[str, Any]:
        self.storage.put("app.tar", path)
        return self.function.create("s3://archives/app.tar", f"{self.destination.host}/app:1")

    def assert_copied(self, response: Mapping[str, Any], layers: Sequence[Layer]) -> None:
        assert response["Status"] == "SUCCESS", response
        assert diff_ids_of(self.destination, "app", "1") == [layer.diff_id for layer in layers]
        assert config_of(self.destination, "app", "1") == build_image(layers).config


@pytest.fixture
def scene(
    function: Function, storage: ObjectStorage, registries: Callable[..., RegistryServer]
) -> Scene:
    return Scene(function, storage, registries())


def described(image: Image, layers: Sequence[Layer]) -> Image:
    """Return the image whose OCI manifest lists these layers."""
    document = {**json.loads(image.manifest), "layers": [each.descriptor("oci") for each in layers]}
    content = json.dumps(document).encode()
    return dataclasses.replace(image, manifest=content, digest=digest_of(content))


def entry(image: Image, layers: Sequence[Layer]) -> dict[str, Any]:
    """Return the entry of manifest.json that lists these layers."""
    return {
        "Config": f"blobs/{digest_of(image.config).replace(':', '/')}",
        "RepoTags": ["app:1"],
        "Layers": [f"blobs/{each.digest.replace(':', '/')}" for each in layers],
    }


def wrong_lists(layers: Sequence[Layer]) -> dict[str, list[Layer]]:
    first, second, third = layers
    return {
        "reversed": [third, second, first],
        "one missing": [first, second],
        "one too many": [first, second, third, first],
        "one twice": [first, first, third],
        "none": [],
    }


@pytest.mark.parametrize("wrong", wrong_lists(UNCOMPRESSED))
@BOTH
def test_an_oci_manifest_that_agrees_with_the_diff_ids_overrides_manifest_json(
    scene: Scene, tmp_path: Path, right: list[Layer], wrong: str
) -> None:
    image = build_image(right)
    listed = entry(image, wrong_lists(right)[wrong])

    response = scene.copy(build_export(tmp_path / "a.tar", [(image, "app:1")], manifest=[listed]))

    scene.assert_copied(response, right)
    if right is COMPRESSED:
        assert manifest_of(scene.destination, "app", "1") == json.loads(image.manifest)


@pytest.mark.parametrize("wrong", wrong_lists(UNCOMPRESSED))
@BOTH
def test_manifest_json_that_agrees_with_the_diff_ids_overrides_the_oci_manifest(
    scene: Scene, tmp_path: Path, right: list[Layer], wrong: str
) -> None:
    image = build_image(right)
    listed = entry(image, right)
    oci = described(image, wrong_lists(right)[wrong])

    response = scene.copy(build_export(tmp_path / "a.tar", [(oci, "app:1")], manifest=[listed]))

    scene.assert_copied(response, right)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("reversed", "does not match its diff_id in the config"),
        ("one missing", "manifest.json lists 2 layers and the config "),
        ("one too many", "manifest.json lists 4 layers and the config "),
        ("one twice", "manifest.json lists one file for several layers of the config "),
        ("none", "manifest.json lists 0 layers and the config "),
    ],
)
def test_layers_that_match_no_diff_id_are_an_error(
    scene: Scene, tmp_path: Path, wrong: str, message: str
) -> None:
    image = build_image(COMPRESSED)
    listed = entry(image, wrong_lists(COMPRESSED)[wrong])
    oci = described(image, COMPRESSED[:1])
    path = build_export(tmp_path / "a.tar", [(oci, "app:1")], manifest=[listed])

    response = scene.copy(path)

    assert response["Status"] == "FAILED"
    assert message in response["Reason"]
    assert scene.destination.store.tags("app") == {}


@pytest.mark.parametrize(
    "index", [b"", b"{", b"{}", b"[]", b"null", b'{"manifests":{}}', b'{"manifests":[{}]}']
)
def test_an_invalid_index_json_is_ignored_if_manifest_json_exists(
    scene: Scene, tmp_path: Path, index: bytes
) -> None:
    image = build_image(UNCOMPRESSED)
    files = [file for file in layout_files([(image, "app:1")]) if file.name != "index.json"]
    listed = json.dumps([entry(image, UNCOMPRESSED)]).encode()
    files += [ArchiveFile("index.json", index), ArchiveFile("manifest.json", listed)]

    response = scene.copy(write_tar(tmp_path / "a.tar", files))

    scene.assert_copied(response, UNCOMPRESSED)


@pytest.mark.parametrize("listed", [b"null", b"[]", b"{}"])
def test_index_json_is_used_if_manifest_json_lists_no_images(
    scene: Scene, tmp_path: Path, listed: bytes
) -> None:
    image = build_image(COMPRESSED)
    files = [*layout_files([(image, "app:1")]), ArchiveFile("manifest.json", listed)]

    response = scene.copy(write_tar(tmp_path / "a.tar", files))

    scene.assert_copied(response, COMPRESSED)


def test_manifest_json_is_used_in_a_compressed_archive(scene: Scene, tmp_path: Path) -> None:
    image = build_image(COMPRESSED)
    listed = entry(image, COMPRESSED[::-1])
    path = build_export(tmp_path / "a.tar", [(image, "app:1")], manifest=[listed])
    path.write_bytes(gzip.compress(path.read_bytes()))

    response = scene.copy(path)

    assert response["Status"] == "FAILED"
    assert "does not match its diff_id in the config" in response["Reason"]
