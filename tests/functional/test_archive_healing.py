"""A destination that has lost layers of an archive, and says so when the manifest is pushed."""

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


class Losing(SpecificationPolicy):
    """Calls `lose` before each push of a manifest, a number of times."""

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
def test_layers_that_were_lost_are_pushed_again(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    compression: str,
    layers: str,
) -> None:
    destination = registries(policy=Losing(lose_everything))
    path = build_docker_save(tmp_path / "a", [SAVED])
    path.write_bytes(COMPRESSORS[compression](path.read_bytes()))
    storage.put("app.tar", path)

    answer = function.create(SOURCE, f"{destination.host}/app:1", Compression=layers)

    assert answer["Status"] == "SUCCESS", answer
    assert config_of(destination, "app", "1") == SAVED.config
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in LAYERS]
    # every blob twice, and the manifest
    assert count(destination, "PUT", "/blobs/") == 2 * (len(LAYERS) + 1)
    assert count(destination, "PUT", "/manifests/") == 2
    assert destination.store.open_uploads == ()


def test_only_the_layer_that_is_named_as_missing_is_pushed_again(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    def lose_one(store: Store) -> None:
        store.delete_blob("app", max(store.blobs("app")))

    destination = registries(policy=Losing(lose_one))
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))

    answer = function.create(SOURCE, f"{destination.host}/app:1")

    assert answer["Status"] == "SUCCESS", answer
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in LAYERS]
    assert count(destination, "PUT", "/blobs/") == len(LAYERS) + 1 + 1


def test_an_image_that_was_found_without_its_layers_gets_them_for_its_next_tag(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    destination = registries()
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))
    assert function.create(SOURCE, f"{destination.host}/app:1")["Status"] == "SUCCESS"
    lose_everything(destination.store)

    answer = function.create(SOURCE, f"{destination.host}/app:1", DestTags="2")

    assert answer["Status"] == "SUCCESS", answer
    assert destination.store.tags("app")["2"] == answer["Data"]["ImageDigest"]
    assert diff_ids_of(destination, "app", "2") == [layer.diff_id for layer in LAYERS]


def test_a_lost_layer_that_cannot_be_made_again_is_an_error(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    destination = registries()
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))
    assert function.create(SOURCE, f"{destination.host}/app:1")["Status"] == "SUCCESS"
    # an image of another program, which compresses layers differently
    manifest = manifest_of(destination, "app", "1")
    layer = gzip.compress(LAYERS[0].content, 1)
    foreign = destination.store.put_blob("app", layer)
    manifest["layers"][0] |= {"digest": foreign, "size": len(layer)}
    content = json.dumps(manifest).encode()
    destination.store.put_manifest("app", "1", content, manifest["mediaType"])
    assert function.create(SOURCE, f"{destination.host}/app:1")["Data"]["Changed"] == "false"
    destination.store.delete_blob("app", foreign)

    answer = function.create(SOURCE, f"{destination.host}/app:1", DestTags="2")

    assert f"missing layer {foreign}" in answer["Reason"]
    assert "Remove the image that has the layer" in answer["Reason"]
    assert "2" not in destination.store.tags("app")
    assert destination.store.open_uploads == ()


def test_layers_that_are_lost_again_and_again_are_reported(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    destination = registries(policy=Losing(lose_everything, times=9))
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))

    answer = function.create(SOURCE, f"{destination.host}/app:1")

    assert "missing content" in answer["Reason"]
    assert count(destination, "PUT", "/manifests/") == 2
    assert destination.store.tags("app") == {}
