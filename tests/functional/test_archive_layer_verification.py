"""Verification of existing blobs before they are reused as layers of an archive."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from local.archives import SavedImage, build_docker_save, build_oci_layout
from local.images import Image, build_image, build_layer
from local.objects import ObjectStorage
from local.registry import (
    Action,
    ErrorCode,
    Operation,
    RegistryError,
    RegistryServer,
    SpecificationPolicy,
    Store,
)
from local.registry.digests import digest_of
from local.web import Request
from tests.functional.conftest import Function
from tests.functional.copied_images import config_of, diff_ids_of, manifest_of

Start = Callable[..., RegistryServer]
NewFunction = Callable[[], Function]

SOURCE = "s3://archives/app.tar"
LAYERS = [build_layer(100_000 + seed, seed, "none") for seed in range(4)]
SAVED = SavedImage(LAYERS, ["app:1"])
DIFF_IDS = [layer.diff_id for layer in LAYERS]
GZIP_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
FORGED_LAYER = gzip.compress(b"a layer that is not in the config")


@pytest.fixture
def destination(registries: Start) -> RegistryServer:
    return registries()


@pytest.fixture
def archive(storage: ObjectStorage, tmp_path: Path) -> ObjectStorage:
    """A bucket with the image in a `docker save` archive."""
    storage.put("app.tar", build_docker_save(tmp_path / "app.tar", [SAVED]))
    return storage


def push_forged_image(destination: RegistryServer, tag: str = "1") -> str:
    """Push the archive's config with a forged first layer to a tag and return the digest."""
    store = destination.store
    contents = [FORGED_LAYER, *(gzip.compress(layer.content) for layer in LAYERS[1:])]
    blobs = [(str(store.put_blob("app", content)), len(content)) for content in contents]
    config = str(store.put_blob("app", SAVED.config))
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config,
            "size": len(SAVED.config),
        },
        "layers": [
            {"mediaType": GZIP_LAYER, "digest": digest, "size": size} for digest, size in blobs
        ],
    }
    content = json.dumps(manifest, separators=(",", ":")).encode()
    store.put_manifest("app", tag, content, str(manifest["mediaType"]))
    return str(digest_of(content))


def update(
    function: Function, destination: RegistryServer, previous: str, old_source: str
) -> dict[str, Any]:
    return function.update(previous, SOURCE, f"{destination.host}/app:1", old_source)


def read_blobs(registry: RegistryServer) -> list[str]:
    """Return the digests of the blobs that were read."""
    return [
        entry.path.rpartition("/")[2]
        for entry in registry.requests
        if entry.method == "GET" and "/blobs/" in entry.path
    ]


def write_methods(registry: RegistryServer) -> list[str]:
    return [each.method for each in registry.requests if each.method not in {"GET", "HEAD"}]


def assert_copied(response: dict[str, Any], destination: RegistryServer) -> None:
    assert response["Status"] == "SUCCESS", response
    assert config_of(destination, "app", "1") == SAVED.config
    assert diff_ids_of(destination, "app", "1") == DIFF_IDS


@pytest.mark.usefixtures("archive")
def test_an_image_with_the_archives_config_and_a_forged_layer_is_replaced(
    function: Function, destination: RegistryServer
) -> None:
    push_forged_image(destination)

    response = function.create(SOURCE, f"{destination.host}/app:1")

    assert_copied(response, destination)
    assert response["Data"]["Changed"] == "true"
    # only the forged layer is replaced
    assert response["Data"]["BlobsCopied"] == "1"


@pytest.mark.usefixtures("archive")
def test_a_forged_layer_is_not_reused_for_an_image_with_more_layers(
    function: Function, destination: RegistryServer, storage: ObjectStorage, tmp_path: Path
) -> None:
    push_forged_image(destination)
    larger = SavedImage([*LAYERS, build_layer(5000, 77, "none")], ["app:1"])
    storage.put("app.tar", build_docker_save(tmp_path / "larger.tar", [larger]))

    response = function.create(SOURCE, f"{destination.host}/app:1")

    assert response["Status"] == "SUCCESS", response
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in larger.layers]


@pytest.mark.usefixtures("archive")
@pytest.mark.parametrize("old_source", ["docker://registry.example.com/app:1", "", "s3://archives"])
def test_an_update_verifies_layers_if_the_previous_source_was_a_registry(
    function: Function, destination: RegistryServer, old_source: str
) -> None:
    digest = push_forged_image(destination)

    response = update(function, destination, f"{destination.host}/app:1@{digest}", old_source)

    assert_copied(response, destination)


@pytest.mark.usefixtures("archive")
def test_an_update_verifies_layers_if_the_physical_id_has_another_digest(
    function: Function, destination: RegistryServer
) -> None:
    created = function.create(SOURCE, f"{destination.host}/app:1")
    push_forged_image(destination)

    response = update(function, destination, created["PhysicalResourceId"], SOURCE)

    assert_copied(response, destination)


@pytest.mark.usefixtures("archive")
def test_an_update_verifies_layers_if_the_physical_id_has_another_repository(
    function: Function, destination: RegistryServer
) -> None:
    digest = push_forged_image(destination)

    response = update(function, destination, f"{destination.host}/other:1@{digest}", SOURCE)

    assert_copied(response, destination)


def test_an_update_verifies_layers_if_the_previous_source_was_an_oci_layout(
    new_function: NewFunction, storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    forged = _build_image_with_config_of_saved()
    storage.put("old.tar", build_oci_layout(tmp_path / "old.tar", [(forged, "")]))
    storage.put("app.tar", build_docker_save(tmp_path / "app.tar", [SAVED]))
    created = new_function().create("s3://archives/old.tar", f"{destination.host}/app:1")
    assert created["Data"]["ImageDigest"] == forged.digest

    response = update(
        new_function(), destination, created["PhysicalResourceId"], "s3://archives/old.tar"
    )

    assert_copied(response, destination)


def _build_image_with_config_of_saved() -> Image:
    """Build an image with the archive's config and layers that do not match its diff_ids."""
    image = build_image([build_layer(1000, 90 + seed) for seed in range(4)])
    document = json.loads(image.manifest)
    document["config"] |= {"digest": digest_of(SAVED.config), "size": len(SAVED.config)}
    content = json.dumps(document, separators=(",", ":")).encode()
    blobs = {**image.blobs, digest_of(SAVED.config): SAVED.config}
    return Image(content, image.media_type, digest_of(content), SAVED.config, blobs, "linux/amd64")


def test_an_update_reuses_layers_that_the_resource_pushed_from_an_archive(
    new_function: NewFunction, archive: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    created = new_function().create(SOURCE, f"{destination.host}/app:1")
    archive.clear_requests()
    destination.clear_requests()

    same = update(new_function(), destination, created["PhysicalResourceId"], SOURCE)

    assert same["Data"]["Changed"] == "false"
    assert archive.bytes_read < 100_000
    assert read_blobs(destination) == []

    changed = SavedImage([LAYERS[0], build_layer(100_000, 55, "none"), *LAYERS[2:]], ["app:1"])
    archive.put("app.tar", build_docker_save(tmp_path / "changed.tar", [changed]))
    archive.clear_requests()
    destination.clear_requests()

    response = update(new_function(), destination, created["PhysicalResourceId"], SOURCE)

    assert (response["Data"]["BlobsCopied"], response["Data"]["BlobsSkipped"]) == ("2", "3")
    assert archive.bytes_read < 200_000
    assert read_blobs(destination) == [digest_of(SAVED.config)]
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in changed.layers]


def test_a_create_verifies_existing_layers_and_pushes_nothing(
    new_function: NewFunction, archive: ObjectStorage, destination: RegistryServer
) -> None:
    first = new_function().create(SOURCE, f"{destination.host}/app:1")
    layers = [layer["digest"] for layer in manifest_of(destination, "app", "1")["layers"]]
    archive.clear_requests()
    destination.clear_requests()
    warm = new_function()

    again = warm.create(SOURCE, f"{destination.host}/app:1")

    assert again["Data"]["Changed"] == "false"
    assert again["PhysicalResourceId"] == first["PhysicalResourceId"]
    assert sorted(read_blobs(destination)) == sorted(layers)
    assert write_methods(destination) == []
    assert archive.bytes_read < 100_000

    # verified layers are cached for the process
    destination.clear_requests()
    assert warm.create(SOURCE, f"{destination.host}/app:1")["Data"]["Changed"] == "false"
    assert read_blobs(destination) == []


def test_layers_are_built_again_if_the_destination_denies_pull(
    new_function: NewFunction, archive: ObjectStorage, registries: Start
) -> None:
    destination = registries(policy=(policy := _PushOnlyPolicy()))
    new_function().create(SOURCE, f"{destination.host}/app:1")
    policy.denies_pull = True
    archive.clear_requests()

    response = new_function().create(SOURCE, f"{destination.host}/app:1")

    assert_copied(response, destination)
    assert archive.bytes_read > 400_000


class _PushOnlyPolicy(SpecificationPolicy):
    """A registry that denies pull and allows push."""

    denies_pull = False

    def before(self, operation: Operation, request: Request, store: Store) -> None:
        super().before(operation, request, store)
        is_read = operation.action is Action.GET_BLOB and request.method == "GET"
        if self.denies_pull and is_read:
            raise RegistryError(ErrorCode.DENIED, "no pull here", status=403)


def continuation_of(layers: Mapping[Any, list[Any]]) -> dict[str, Any]:
    return {
        "Continuation": {
            "Invocation": 2,
            "StartedAt": 4_000_000_000,
            "Digest": str(digest_of(SAVED.config)),
            "Streams": 4,
            "ETag": "",
            "Layers": layers,
        }
    }


@pytest.mark.usefixtures("archive")
def test_layers_of_a_continuation_are_verified_and_not_cached(
    function: Function, destination: RegistryServer
) -> None:
    forged = str(destination.store.put_blob("app", FORGED_LAYER))
    layers = {diff_id: [GZIP_LAYER, forged, len(FORGED_LAYER)] for diff_id in DIFF_IDS}
    named = {"SrcImage": SOURCE, "DestImage": f"{destination.host}/app:1"}

    response = function.send(
        {"RequestType": "Create", "ResourceProperties": named, **continuation_of(layers)}
    )

    assert_copied(response, destination)
    assert_copied(function.create(SOURCE, f"{destination.host}/app:1", DestTags="2"), destination)


def test_a_continuation_in_another_process_verifies_the_layers_of_the_first(
    new_function: NewFunction, archive: ObjectStorage, destination: RegistryServer
) -> None:
    blobs = {layer.diff_id: gzip.compress(layer.content) for layer in LAYERS}
    layers: dict[str, list[Any]] = {
        diff_id: [GZIP_LAYER, str(destination.store.put_blob("app", content)), len(content)]
        for diff_id, content in blobs.items()
    }
    named = {"SrcImage": SOURCE, "DestImage": f"{destination.host}/app:1"}

    response = new_function().send(
        {"RequestType": "Create", "ResourceProperties": named, **continuation_of(layers)}
    )

    assert_copied(response, destination)
    assert sorted(read_blobs(destination)) == sorted(digest for _, digest, _ in layers.values())
    assert archive.bytes_read < 100_000
    assert response["Data"]["BlobsCopied"] == "1"
