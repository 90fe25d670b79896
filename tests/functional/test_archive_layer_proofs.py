"""Which blobs at the destination stand for an archive's layers: only those that were verified."""

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
EVIL = gzip.compress(b"another layer than the config names")


@pytest.fixture
def destination(registries: Start) -> RegistryServer:
    return registries()


@pytest.fixture
def archive(storage: ObjectStorage, tmp_path: Path) -> ObjectStorage:
    """A bucket with the image in a `docker save` archive."""
    storage.put("app.tar", build_docker_save(tmp_path / "app.tar", [SAVED]))
    return storage


def forge(destination: RegistryServer, tag: str = "1") -> str:
    """Put the archive's image under a tag with another first layer, and return its digest."""
    store = destination.store
    contents = [EVIL, *(gzip.compress(layer.content) for layer in LAYERS[1:])]
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


def reads(registry: RegistryServer) -> list[str]:
    """The digests of the blobs that were read back."""
    return [
        entry.path.rpartition("/")[2]
        for entry in registry.requests
        if entry.method == "GET" and "/blobs/" in entry.path
    ]


def writes(registry: RegistryServer) -> list[str]:
    return [each.method for each in registry.requests if each.method not in {"GET", "HEAD"}]


def assert_right(answer: dict[str, Any], destination: RegistryServer) -> None:
    assert answer["Status"] == "SUCCESS", answer
    assert config_of(destination, "app", "1") == SAVED.config
    assert diff_ids_of(destination, "app", "1") == DIFF_IDS


@pytest.mark.usefixtures("archive")
def test_an_image_with_the_archives_config_and_another_layer_is_replaced(
    function: Function, destination: RegistryServer
) -> None:
    forge(destination)

    answer = function.create(SOURCE, f"{destination.host}/app:1")

    assert_right(answer, destination)
    assert answer["Data"]["Changed"] == "true"
    # the layers that are right stay, and one is sent in place of the wrong one
    assert answer["Data"]["BlobsCopied"] == "1"


@pytest.mark.usefixtures("archive")
def test_a_forged_layer_is_not_taken_for_a_similar_image_either(
    function: Function, destination: RegistryServer, storage: ObjectStorage, tmp_path: Path
) -> None:
    forge(destination)
    larger = SavedImage([*LAYERS, build_layer(5000, 77, "none")], ["app:1"])
    storage.put("app.tar", build_docker_save(tmp_path / "larger.tar", [larger]))

    answer = function.create(SOURCE, f"{destination.host}/app:1")

    assert answer["Status"] == "SUCCESS", answer
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in larger.layers]


@pytest.mark.usefixtures("archive")
@pytest.mark.parametrize("old_source", ["docker://registry.example.com/app:1", "", "s3://archives"])
def test_an_update_does_not_believe_what_came_from_a_registry(
    function: Function, destination: RegistryServer, old_source: str
) -> None:
    digest = forge(destination)

    answer = update(function, destination, f"{destination.host}/app:1@{digest}", old_source)

    assert_right(answer, destination)


@pytest.mark.usefixtures("archive")
def test_an_update_does_not_believe_an_image_that_its_id_does_not_name(
    function: Function, destination: RegistryServer
) -> None:
    created = function.create(SOURCE, f"{destination.host}/app:1")
    forge(destination)

    answer = update(function, destination, created["PhysicalResourceId"], SOURCE)

    assert_right(answer, destination)


@pytest.mark.usefixtures("archive")
def test_an_update_does_not_believe_another_repositorys_id(
    function: Function, destination: RegistryServer
) -> None:
    digest = forge(destination)

    answer = update(function, destination, f"{destination.host}/other:1@{digest}", SOURCE)

    assert_right(answer, destination)


def test_an_update_does_not_believe_an_oci_layouts_image(
    new_function: NewFunction, storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    evil = _with_config_of_saved()
    storage.put("old.tar", build_oci_layout(tmp_path / "old.tar", [(evil, "")]))
    storage.put("app.tar", build_docker_save(tmp_path / "app.tar", [SAVED]))
    created = new_function().create("s3://archives/old.tar", f"{destination.host}/app:1")
    assert created["Data"]["ImageDigest"] == evil.digest

    answer = update(
        new_function(), destination, created["PhysicalResourceId"], "s3://archives/old.tar"
    )

    assert_right(answer, destination)


def _with_config_of_saved() -> Image:
    """An image of the archive's config, whose layers are not the ones that this names."""
    image = build_image([build_layer(1000, 90 + seed) for seed in range(4)])
    document = json.loads(image.manifest)
    document["config"] |= {"digest": digest_of(SAVED.config), "size": len(SAVED.config)}
    content = json.dumps(document, separators=(",", ":")).encode()
    blobs = {**image.blobs, digest_of(SAVED.config): SAVED.config}
    return Image(content, image.media_type, digest_of(content), SAVED.config, blobs, "linux/amd64")


def test_an_update_believes_what_the_resource_has_put_from_an_archive(
    new_function: NewFunction, archive: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    created = new_function().create(SOURCE, f"{destination.host}/app:1")
    archive.clear_requests()
    destination.clear_requests()

    same = update(new_function(), destination, created["PhysicalResourceId"], SOURCE)

    assert same["Data"]["Changed"] == "false"
    assert archive.bytes_read < 100_000
    assert reads(destination) == []

    changed = SavedImage([LAYERS[0], build_layer(100_000, 55, "none"), *LAYERS[2:]], ["app:1"])
    archive.put("app.tar", build_docker_save(tmp_path / "changed.tar", [changed]))
    archive.clear_requests()
    destination.clear_requests()

    answer = update(new_function(), destination, created["PhysicalResourceId"], SOURCE)

    assert (answer["Data"]["BlobsCopied"], answer["Data"]["BlobsSkipped"]) == ("2", "3")
    assert archive.bytes_read < 200_000
    assert reads(destination) == [digest_of(SAVED.config)]
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in changed.layers]


def test_a_create_reads_back_what_is_there_and_sends_nothing(
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
    assert sorted(reads(destination)) == sorted(layers)
    assert writes(destination) == []
    assert archive.bytes_read < 100_000

    # what was verified once stays so for the process
    destination.clear_requests()
    assert warm.create(SOURCE, f"{destination.host}/app:1")["Data"]["Changed"] == "false"
    assert reads(destination) == []


def test_layers_that_cannot_be_read_back_are_made_again(
    new_function: NewFunction, archive: ObjectStorage, registries: Start
) -> None:
    destination = registries(policy=(policy := _WriteOnly()))
    new_function().create(SOURCE, f"{destination.host}/app:1")
    policy.is_closed = True
    archive.clear_requests()

    answer = new_function().create(SOURCE, f"{destination.host}/app:1")

    assert_right(answer, destination)
    assert archive.bytes_read > 400_000


class _WriteOnly(SpecificationPolicy):
    """A registry that shows no blob, as to a role that may only push."""

    is_closed = False

    def before(self, operation: Operation, request: Request, store: Store) -> None:
        super().before(operation, request, store)
        is_read = operation.action is Action.GET_BLOB and request.method == "GET"
        if self.is_closed and is_read:
            raise RegistryError(ErrorCode.DENIED, "no pull here", status=403)


def continued(layers: Mapping[Any, list[Any]]) -> dict[str, Any]:
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
def test_a_continuations_layers_are_verified_and_stay_with_their_run(
    function: Function, destination: RegistryServer
) -> None:
    evil = str(destination.store.put_blob("app", EVIL))
    layers = {diff_id: [GZIP_LAYER, evil, len(EVIL)] for diff_id in DIFF_IDS}
    named = {"SrcImage": SOURCE, "DestImage": f"{destination.host}/app:1"}

    answer = function.send(
        {"RequestType": "Create", "ResourceProperties": named, **continued(layers)}
    )

    assert_right(answer, destination)
    assert_right(function.create(SOURCE, f"{destination.host}/app:1", DestTags="2"), destination)


def test_a_continuation_in_another_process_reads_back_what_the_first_one_made(
    new_function: NewFunction, archive: ObjectStorage, destination: RegistryServer
) -> None:
    blobs = {layer.diff_id: gzip.compress(layer.content) for layer in LAYERS}
    layers: dict[str, list[Any]] = {
        diff_id: [GZIP_LAYER, str(destination.store.put_blob("app", content)), len(content)]
        for diff_id, content in blobs.items()
    }
    named = {"SrcImage": SOURCE, "DestImage": f"{destination.host}/app:1"}

    answer = new_function().send(
        {"RequestType": "Create", "ResourceProperties": named, **continued(layers)}
    )

    assert_right(answer, destination)
    assert sorted(reads(destination)) == sorted(digest for _, digest, _ in layers.values())
    assert archive.bytes_read < 100_000
    assert answer["Data"]["BlobsCopied"] == "1"
