"""Requests and bytes of an archive copy: each byte is read and pushed at most once."""

from __future__ import annotations

import bz2
import gzip
import itertools
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from local.archives import (
    SavedImage,
    build_docker_save,
    build_export,
    build_large_layer,
    build_oci_layout,
)
from local.images import build_image, build_layer
from local.objects import ObjectStorage
from local.registry import AccessLogEntry, RegistryServer
from local.registry.digests import digest_of
from tests.functional.conftest import Function
from tests.functional.copied_images import config_diff_ids, config_of, diff_ids_of, manifest_of

from ecr_image_replicator.archive.tar_index import PAGE_BYTES

Start = Callable[..., RegistryServer]

MIB = 1024 * 1024
LAYERS = [build_layer(100_000 + seed, seed, "none") for seed in range(4)]


def methods(entries: tuple[AccessLogEntry, ...]) -> Counter[str]:
    return Counter(entry.method for entry in entries)


def spans(storage: ObjectStorage) -> list[tuple[int, int]]:
    """Return the sorted ranges that were read, each as first byte and end."""
    found = []
    for entry in storage.requests:
        first, last = entry.headers["range"].removeprefix("bytes=").split("-")
        found.append((int(first), min(int(last) + 1, int(first) + entry.response_bytes)))
    return sorted(found)


def overlaps(storage: ObjectStorage) -> int:
    ordered = spans(storage)
    return sum(max(0, before[1] - after[0]) for before, after in itertools.pairwise(ordered))


def test_an_archive_is_read_once_and_then_only_its_changed_layer(
    function: Function,
    new_function: Callable[[], Function],
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
) -> None:
    # a tenth of the size of the archive in benchmarks/archive.py
    destination = registries()
    layers = [build_large_layer(tmp_path / f"{n}", 10 * MIB + n, n, "zeros") for n in range(6)]
    first = build_docker_save(tmp_path / "first.tar", [SavedImage(layers, ["app:1"])])
    assert first.stat().st_size > 60 * MIB
    storage.put("app.tar", first)
    named = "s3://archives/app.tar", f"{destination.host}/app:1"

    response = function.create(*named)
    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["BlobsCopied"] == "7"
    created = response["PhysicalResourceId"]
    assert overlaps(storage) == 0
    assert 60 * MIB < storage.bytes_read <= first.stat().st_size

    # an Update in a new process compares the config and copies nothing
    storage.clear_requests()
    destination.clear_requests()
    response = new_function().update(created, *named)
    assert response["Data"]["Changed"] == "false"
    assert storage.bytes_read < MIB // 4
    assert methods(destination.requests) == {"GET": 1}

    storage.clear_requests()
    destination.clear_requests()
    changed = build_large_layer(tmp_path / "changed", 10 * MIB, 77, "zeros")
    saved = SavedImage([*layers[:3], changed, *layers[4:]], ["app:1"])
    storage.put("app.tar", build_docker_save(tmp_path / "second.tar", [saved]))
    response = new_function().update(created, *named)
    assert response["Status"] == "SUCCESS", response
    assert (response["Data"]["BlobsCopied"], response["Data"]["BlobsSkipped"]) == ("2", "5")
    assert 10 * MIB < storage.bytes_read < 10 * MIB + MIB // 4
    assert overlaps(storage) == 0
    # the tag and its config; the five layers; the new one and the new config; the manifest
    counted = methods(destination.requests)
    assert counted == {"GET": 2, "HEAD": 5 + 1, "POST": 2, "PATCH": 1, "PUT": 3}
    assert config_of(destination, "app", "1") == saved.config


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_only_the_changed_layer_of_an_archive_of_docker_25_is_read(
    function: Function,
    new_function: Callable[[], Function],
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    compression: str,
) -> None:
    destination = registries()
    layers = [build_layer(MIB + n, n, "none") for n in range(6)]
    changed = [*layers[:3], build_layer(MIB, 77, "none"), *layers[4:]]
    first, second = (
        build_export(tmp_path / f"{n}.tar", [(build_image(each), "app:1")])
        for n, each in enumerate((layers, changed))
    )
    named = "s3://archives/app.tar", f"{destination.host}/app:1"
    storage.put("app.tar", first)
    created = function.create(*named, Compression=compression)
    assert created["Data"]["BlobsCopied"] == "7", created
    storage.clear_requests()
    storage.put("app.tar", second)

    response = new_function().update(created["PhysicalResourceId"], *named, Compression=compression)

    assert response["Data"]["BlobsCopied"] == "2", response
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in changed]
    assert overlaps(storage) == 0
    read = _bytes_read_of_members(storage, second)
    new = changed[3]
    assert read.pop(f"blobs/{str(digest_of(new.content)).replace(':', '/')}") == len(new.content)
    # of another layer, at most the page that begins in the preceding member
    assert max(read.values()) <= PAGE_BYTES


def _bytes_read_of_members(storage: ObjectStorage, archive: Path) -> dict[str, int]:
    """Return how many bytes of each member's content were read."""
    with tarfile.open(archive) as opened:
        members = [(each.name, each.offset_data, each.size) for each in opened if each.isfile()]
    return {
        name: sum(
            max(0, min(end, offset + size) - max(start, offset)) for start, end in spans(storage)
        )
        for name, offset, size in members
    }


def test_a_layer_takes_three_requests(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    destination = registries()
    saved = SavedImage(LAYERS, ["app:1"])
    storage.put("app.tar", build_docker_save(tmp_path / "a.tar", [saved]))

    function.create("s3://archives/app.tar", f"{destination.host}/app:1")

    # the tag; each layer; the config, with a HEAD on it; the manifest
    assert methods(destination.requests) == {
        "GET": 1,
        "POST": 4 + 1,
        "PATCH": 4,
        "PUT": 4 + 1 + 1,
        "HEAD": 1,
    }


def test_layers_of_the_resources_previous_tag_are_not_pushed_again(
    function: Function,
    new_function: Callable[[], Function],
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
) -> None:
    destination = registries()
    storage.put("1", build_docker_save(tmp_path / "1.tar", [SavedImage(LAYERS[:3])]))
    storage.put("2", build_docker_save(tmp_path / "2.tar", [SavedImage(LAYERS)]))
    created = function.create("s3://archives/1", f"{destination.host}/app:1")
    storage.clear_requests()
    destination.clear_requests()

    def update(number: int, physical_id: str) -> dict[str, str]:
        body = new_function().update(
            physical_id,
            f"s3://archives/{number}",
            f"{destination.host}/app:{number}",
            f"s3://archives/{number - 1}",
        )
        assert body["Status"] == "SUCCESS", body
        data: dict[str, str] = body["Data"]
        return data

    data = update(2, created["PhysicalResourceId"])
    assert (data["BlobsCopied"], data["BlobsSkipped"]) == ("2", "3")
    assert methods(destination.requests)["PATCH"] == 1
    assert diff_ids_of(destination, "app", "2") == [layer.diff_id for layer in LAYERS]

    # the same image under a third tag: only its manifest is pushed
    storage.put("3", tmp_path / "2.tar")
    destination.clear_requests()
    data = update(3, f"{destination.host}/app:2@{data['ImageDigest']}")
    assert (data["BlobsCopied"], data["BytesCopied"]) == ("0", "0")
    assert methods(destination.requests) == {"GET": 2, "PUT": 1}


def test_layers_in_another_repository_are_pushed_again(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    destination = registries()
    storage.put("1", build_docker_save(tmp_path / "1.tar", [SavedImage(LAYERS)]))
    created = function.create("s3://archives/1", f"{destination.host}/app:1")

    body = function.send(
        {
            "RequestType": "Update",
            "PhysicalResourceId": created["PhysicalResourceId"],
            "ResourceProperties": {
                "SrcImage": "s3://archives/1",
                "DestImage": f"{destination.host}/other:1",
            },
        }
    )
    assert body["Data"]["BlobsCopied"] == "5"
    assert diff_ids_of(destination, "other", "1") == [layer.diff_id for layer in LAYERS]


def test_another_compression_pushes_other_blobs(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    destination = registries()
    storage.put("app.tar", build_docker_save(tmp_path / "a.tar", [SavedImage(LAYERS)]))
    named = "s3://archives/app.tar", f"{destination.host}/app:1"
    function.create(*named)

    response = function.create(*named, Compression="zstd")

    assert response["Data"]["BlobsCopied"] == "4"
    media_types = {layer["mediaType"] for layer in manifest_of(destination, "app", "1")["layers"]}
    assert media_types == {"application/vnd.oci.image.layer.v1.tar+zstd"}


def test_a_blob_that_the_destination_lost_is_pushed_again(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    destination = registries()
    storage.put("1", build_docker_save(tmp_path / "1.tar", [SavedImage(LAYERS[:2])]))
    storage.put("2", build_docker_save(tmp_path / "2.tar", [SavedImage(LAYERS[:3])]))
    function.create("s3://archives/1", f"{destination.host}/app:1")
    lost = manifest_of(destination, "app", "1")["layers"][0]["digest"]
    destination.store.delete_blob("app", lost)

    response = function.create("s3://archives/2", f"{destination.host}/app:1")

    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["BlobsCopied"] == "3"
    assert destination.store.has_blob("app", lost)


def test_existing_blobs_of_an_oci_layout_are_not_read_from_s3(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    destination = registries()
    layers = [build_layer(300_000, seed) for seed in range(3)]
    storage.put("1", build_oci_layout(tmp_path / "1", [(build_image(layers[:2]), "app")]))
    storage.put("2", build_oci_layout(tmp_path / "2", [(build_image(layers), "app")]))
    function.create("s3://archives/1", f"{destination.host}/app:1")
    assert overlaps(storage) == 0
    storage.clear_requests()

    response = function.create("s3://archives/2", f"{destination.host}/app:1")

    assert (response["Data"]["BlobsCopied"], response["Data"]["BlobsSkipped"]) == ("2", "2")
    assert storage.bytes_read < 300_000 + 8 * 16 * 1024
    assert overlaps(storage) == 0


@pytest.mark.parametrize("index_first", [True, False])
def test_a_compressed_oci_layout_is_read_once_if_index_json_comes_first_and_else_twice(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    index_first: bool,
) -> None:
    destination = registries()
    image = build_image([build_layer(400_000, seed) for seed in range(4)])
    parts = [(image, "app")]
    plain = build_oci_layout(tmp_path / "plain", parts, reverse_order=index_first)
    compressed = tmp_path / "compressed"
    compressed.write_bytes(gzip.compress(plain.read_bytes(), 1))
    storage.put("app.tgz", compressed)

    response = function.create("s3://archives/app.tgz", f"{destination.host}/app:1")

    assert response["Data"]["ImageDigest"] == image.digest
    passes = 1 if index_first else 2
    size_bytes = compressed.stat().st_size
    assert (passes - 1) * size_bytes < storage.bytes_read <= passes * size_bytes


@pytest.mark.parametrize("config_first", [True, False])
def test_a_compressed_docker_archive_is_read_once_if_the_config_comes_first_and_else_twice(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    config_first: bool,
) -> None:
    destination = registries()
    saved = SavedImage([build_layer(200_000, seed, "none") for seed in range(4)])
    plain = build_docker_save(tmp_path / "plain", [saved], reverse_order=config_first)
    compressed = tmp_path / "compressed"
    compressed.write_bytes(bz2.compress(plain.read_bytes(), 1))
    storage.put("app.tar", compressed)

    response = function.create("s3://archives/app.tar", f"{destination.host}/app:1")

    assert response["Status"] == "SUCCESS", response
    assert diff_ids_of(destination, "app", "1") == config_diff_ids(saved.config)
    passes = 1 if config_first else 2
    size_bytes = compressed.stat().st_size
    assert (passes - 1) * size_bytes < storage.bytes_read <= passes * size_bytes
