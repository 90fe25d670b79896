"""A destination that loses layers of an archive and rejects the manifest."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from local.archives import build_docker_save
from local.objects import ObjectStorage
from local.registry import Action, Operation, RegistryServer, SpecificationPolicy, Store
from local.web import Request
from tests.functional.archive_failures import LAYERS, SAVED
from tests.functional.conftest import Function
from tests.functional.copied_images import config_of, diff_ids_of, manifest_of

Start = Callable[..., RegistryServer]
SOURCE = "s3://archives/app.tar"
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


class LostLayersPolicy(SpecificationPolicy):
    """A registry that calls `lose` before each of the first pushes of a manifest."""

    def __init__(self, lose: Callable[[Store], None], times: int = 1) -> None:
        self._lose = lose
        self._times = times

    def before(self, operation: Operation, request: Request, store: Store) -> None:
        super().before(operation, request, store)
        if operation.action is Action.PUT_MANIFEST and self._times:
            self._times -= 1
            self._lose(store)


def lose_everything(store: Store) -> None:
    for digest in store.blobs("app"):
        store.delete_blob("app", digest)


def count(registry: RegistryServer, method: str, part: str) -> int:
    return sum(each.method == method and part in each.path for each in registry.requests)


@pytest.mark.parametrize("compression", COMPRESSORS)
@pytest.mark.parametrize("layers", ["none", "gzip", "zstd"])
def test_lost_layers_are_pushed_again(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    compression: str,
    layers: str,
) -> None:
    destination = registries(policy=LostLayersPolicy(lose_everything))
    path = build_docker_save(tmp_path / "a", [SAVED])
    path.write_bytes(COMPRESSORS[compression](path.read_bytes()))
    storage.put("app.tar", path)

    response = function.create(SOURCE, f"{destination.host}/app:1", Compression=layers)

    assert response["Status"] == "SUCCESS", response
    assert config_of(destination, "app", "1") == SAVED.config
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in LAYERS]
    # every blob and the manifest twice
    assert count(destination, "PUT", "/blobs/") == 2 * (len(LAYERS) + 1)
    assert count(destination, "PUT", "/manifests/") == 2
    assert destination.store.open_uploads == ()


def test_only_the_missing_layer_is_pushed_again(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    def lose_one(store: Store) -> None:
        store.delete_blob("app", max(store.blobs("app")))

    destination = registries(policy=LostLayersPolicy(lose_one))
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))

    response = function.create(SOURCE, f"{destination.host}/app:1")

    assert response["Status"] == "SUCCESS", response
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in LAYERS]
    assert count(destination, "PUT", "/blobs/") == len(LAYERS) + 1 + 1


def test_lost_layers_of_an_unchanged_image_are_pushed_again_for_a_new_tag(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    destination = registries()
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))
    assert function.create(SOURCE, f"{destination.host}/app:1")["Status"] == "SUCCESS"
    lose_everything(destination.store)

    response = function.create(SOURCE, f"{destination.host}/app:1", DestTags="2")

    assert response["Status"] == "SUCCESS", response
    assert destination.store.tags("app")["2"] == response["Data"]["ImageDigest"]
    assert diff_ids_of(destination, "app", "2") == [layer.diff_id for layer in LAYERS]


def test_a_lost_layer_that_cannot_be_built_again_is_an_error(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    destination = registries()
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))
    assert function.create(SOURCE, f"{destination.host}/app:1")["Status"] == "SUCCESS"
    # an image of another program with a different compression level
    manifest = manifest_of(destination, "app", "1")
    layer = gzip.compress(LAYERS[0].content, 1)
    foreign = destination.store.put_blob("app", layer)
    manifest["layers"][0] |= {"digest": foreign, "size": len(layer)}
    content = json.dumps(manifest).encode()
    destination.store.put_manifest("app", "1", content, manifest["mediaType"])
    assert function.create(SOURCE, f"{destination.host}/app:1")["Data"]["Changed"] == "false"
    destination.store.delete_blob("app", foreign)

    response = function.create(SOURCE, f"{destination.host}/app:1", DestTags="2")

    assert f"missing layer {foreign}" in response["Reason"]
    assert "Remove the image that has the layer" in response["Reason"]
    assert "2" not in destination.store.tags("app")
    assert destination.store.open_uploads == ()


def test_layers_that_are_lost_again_are_reported_as_missing(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    destination = registries(policy=LostLayersPolicy(lose_everything, times=9))
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))

    response = function.create(SOURCE, f"{destination.host}/app:1")

    assert "missing content" in response["Reason"]
    assert count(destination, "PUT", "/manifests/") == 2
    assert destination.store.tags("app") == {}
