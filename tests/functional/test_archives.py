"""Images from tar archives in S3."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from local.archives import (
    DockerSaveFormat,
    SavedImage,
    TarFormat,
    build_docker_save,
    build_large_layer,
    build_oci_layout,
)
from local.images import Compression, build_image, build_index, build_layer
from local.objects import ObjectStorage
from local.registry import RegistryServer
from local.web import Request, Response
from tests.functional.conftest import Function
from tests.functional.copied_images import (
    config_diff_ids,
    config_of,
    diff_ids_of,
    manifest_of,
)

Start = Callable[..., RegistryServer]

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor().compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
LAYERS = [build_layer(200_000 + seed, seed, "none") for seed in range(4)]
SAVED = SavedImage(LAYERS, ["app:1"])


@pytest.fixture
def destination(registries: Start) -> RegistryServer:
    return registries()


@pytest.mark.parametrize("save_format", ["folders", "layout"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_docker_save_archive_is_copied_with_its_config_and_layers(
    function: Function,
    storage: ObjectStorage,
    destination: RegistryServer,
    tmp_path: Path,
    save_format: DockerSaveFormat,
    form: TarFormat,
) -> None:
    saved = SavedImage([*LAYERS, LAYERS[0]], ["app:1"], "linux/arm64")
    storage.put("app.tar", build_docker_save(tmp_path / "a.tar", [saved], save_format, format=form))

    response = function.create("s3://archives/app.tar", f"{destination.host}/app:1")

    assert response["Status"] == "SUCCESS", response
    assert config_of(destination, "app", "1") == saved.config
    assert diff_ids_of(destination, "app", "1") == config_diff_ids(saved.config)
    assert response["Data"]["Platforms"] == "linux/arm64"
    assert response["Data"]["MediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert response["Data"]["BlobsCopied"] == "5"
    assert response["Data"]["Digest.arm64"] == response["Data"]["ImageDigest"]


@pytest.mark.parametrize(
    ("compression", "suffix"), [("gzip", "+gzip"), ("zstd", "+zstd"), ("none", "")]
)
def test_layers_are_compressed_with_the_chosen_compression(
    function: Function,
    storage: ObjectStorage,
    destination: RegistryServer,
    tmp_path: Path,
    compression: str,
    suffix: str,
) -> None:
    storage.put("app.tar", build_docker_save(tmp_path / "a.tar", [SAVED]))

    named = "s3://archives/app.tar", f"{destination.host}/app:1"
    first = function.create(*named, Compression=compression)
    again = function.create(*named, Compression=compression)

    assert first["Data"]["Changed"] == "true"
    layers = manifest_of(destination, "app", "1")["layers"]
    assert {layer["mediaType"].partition("tar")[2] for layer in layers} == {suffix}
    assert diff_ids_of(destination, "app", "1") == config_diff_ids(SAVED.config)
    assert again["Data"]["Changed"] == "false"
    assert again["PhysicalResourceId"] == first["PhysicalResourceId"]


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("compressed_order", ["", "in order", "reversed"])
def test_compressed_layers_are_copied_byte_for_byte(
    function: Function,
    storage: ObjectStorage,
    destination: RegistryServer,
    tmp_path: Path,
    kind: Compression,
    compression: str,
    compressed_order: str,
) -> None:
    layers = [build_layer(30_000, seed, kind) for seed in range(3)]
    saved = SavedImage(layers, ["app:1"])
    reverse_order = compressed_order == "reversed"
    path = build_docker_save(tmp_path / "a.tar", [saved], "compressed", reverse_order=reverse_order)
    if compressed_order:
        path.write_bytes(gzip.compress(path.read_bytes()))
    storage.put("app.tar", path)
    named = "s3://archives/app.tar", f"{destination.host}/app:1"

    response = function.create(*named, Compression=compression)
    destination.clear_requests()
    again = function.create(*named, Compression=compression)

    assert response["Status"] == "SUCCESS", response
    assert again["Data"]["Changed"] == "false"
    assert {entry.method for entry in destination.requests} == {"GET"}
    digests = [layer["digest"] for layer in manifest_of(destination, "app", "1")["layers"]]
    assert digests == [layer.digest for layer in layers]
    assert diff_ids_of(destination, "app", "1") == config_diff_ids(saved.config)


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("manifest_first", [True, False])
def test_a_compressed_archive_may_mix_layers_of_different_compressions(
    function: Function,
    storage: ObjectStorage,
    destination: RegistryServer,
    tmp_path: Path,
    compression: str,
    order: int,
    manifest_first: bool,
) -> None:
    kinds: list[Compression] = ["none", "gzip", "none", "zstd"]
    layers = [build_layer(100_000, seed, kind) for seed, kind in enumerate(kinds)][::order]
    saved = SavedImage(layers)
    path = build_docker_save(tmp_path / "a", [saved], "compressed", reverse_order=manifest_first)
    path.write_bytes(gzip.compress(path.read_bytes()))
    storage.put("app.tar", path)

    response = function.create(
        "s3://archives/app.tar", f"{destination.host}/app:1", Compression=compression
    )

    assert response["Status"] == "SUCCESS", response
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in layers]
    found = {layer["digest"] for layer in manifest_of(destination, "app", "1")["layers"]}
    assert found >= {layer.digest for layer in layers if layer.compression != "none"}
    assert (found == {layer.digest for layer in layers}) is (compression == "none")
    assert destination.store.open_uploads == ()


def test_the_same_layers_have_the_same_digest_in_every_kind_of_archive(
    storage: ObjectStorage, registries: Start, tmp_path: Path, new_function: Callable[[], Function]
) -> None:
    # alternates compressible and random data over several chunks of the compressor
    layer = build_large_layer(tmp_path / "layer", 2_500_000, 1, "mixed")
    saved = [SavedImage([layer], ["app:1"])]
    plain = build_docker_save(tmp_path / "plain", saved)
    paths = [plain, build_docker_save(tmp_path / "reversed", saved, reverse_order=True)]
    for suffix in ("gz", "zst"):
        paths.append(tmp_path / suffix)
        paths[-1].write_bytes(COMPRESS[suffix](plain.read_bytes()))
    for path in paths:
        storage.put(path.name, path)
    destination = registries()
    digests = {
        path.name: new_function().create(
            f"s3://archives/{path.name}", f"{destination.host}/{path.name}:1"
        )["Data"]["ImageDigest"]
        for path in paths
    }
    broken: set[str] = set()

    def drop_connection(request: Request, response: Response) -> Response:
        if response.length < 1_000_000 or request.headers["range"] in broken:
            return response
        broken.add(request.headers["range"])
        return Response(response.status, response.headers, response.body, drop_after_bytes=333_333)

    storage.alteration = drop_connection
    retries = {"baseDelay": 0, "numAttempts": 20}
    digests["broken"] = new_function().create(
        "s3://archives/plain", f"{destination.host}/broken:1", RetryConfigs=retries
    )["Data"]["ImageDigest"]

    assert len(broken) > 3
    assert len(set(digests.values())) == 1, digests


def test_an_oci_layout_keeps_its_digests(
    function: Function, storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    image = build_image([build_layer(200_000, 1), build_layer(200_000, 2, "zstd"), LAYERS[0]])
    storage.put("app.tar", build_oci_layout(tmp_path / "a.tar", [(image, "")]))

    response = function.create("s3://archives/app.tar", f"{destination.host}/app:1")

    assert response["Data"]["ImageDigest"] == image.digest
    assert destination.store.manifest("app", "1").content == image.manifest
    assert destination.store.blobs("app") == image.blobs.keys()


@pytest.mark.parametrize("save_format", ["folders", "layout", "compressed"])
@pytest.mark.parametrize("selector", ["two:1", "docker.io/library/two:1", "@1"])
def test_a_selector_chooses_one_of_several_images(
    function: Function,
    storage: ObjectStorage,
    destination: RegistryServer,
    tmp_path: Path,
    save_format: DockerSaveFormat,
    selector: str,
) -> None:
    layers = (
        [build_layer(50_000, seed) for seed in range(3)] if save_format == "compressed" else LAYERS
    )
    one, two = SavedImage(layers[:2], ["one:1"]), SavedImage(layers[1:], ["two:1"])
    storage.put("two.tar", build_docker_save(tmp_path / "a.tar", [one, two], save_format))

    response = function.create(f"s3://archives/two.tar:{selector}", f"{destination.host}/app:1")

    assert response["Status"] == "SUCCESS", response
    assert config_of(destination, "app", "1") == two.config
    assert diff_ids_of(destination, "app", "1") == config_diff_ids(two.config)


@pytest.mark.parametrize("save_format", ["folders", "layout"])
@pytest.mark.parametrize("selector", ["", ":one:1", ":team/uno:2", ":@0"])
def test_an_image_with_several_names_is_one_image(
    function: Function,
    storage: ObjectStorage,
    destination: RegistryServer,
    tmp_path: Path,
    save_format: DockerSaveFormat,
    selector: str,
) -> None:
    images = [SavedImage(LAYERS[:2], ["one:1", "team/uno:2"])]
    if selector:
        images.append(SavedImage(LAYERS[1:], ["two:1"]))
    storage.put("app.tar", build_docker_save(tmp_path / "a.tar", images, save_format))

    response = function.create(f"s3://archives/app.tar{selector}", f"{destination.host}/app:1")
    other = function.create("s3://archives/app.tar:@1", f"{destination.host}/app:2")

    assert response["Status"] == "SUCCESS", response
    assert config_of(destination, "app", "1") == images[0].config
    if selector:
        assert config_of(destination, "app", "2") == images[1].config
    else:
        assert "image not found in the archive; it has 1 image: @0 " in other["Reason"]


def test_platforms_are_selected_from_the_index_of_an_oci_layout(
    function: Function, storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    images = [build_image([LAYERS[0]], "linux/amd64"), build_image([LAYERS[1]], "linux/arm64")]
    index = build_index(images)
    storage.put("multi.tar", build_oci_layout(tmp_path / "a.tar", [(index, "multi:1")]))
    named = f"{destination.host}/multi"

    index_copy = function.create("s3://archives/multi.tar", f"{named}:all", Platforms="all")
    assert index_copy["Data"]["ImageDigest"] == index.digest
    assert destination.store.manifest("multi", "all").content == index.manifest
    assert index_copy["Data"]["Platforms"] == "linux/amd64,linux/arm64"

    one = function.create("s3://archives/multi.tar", f"{named}:arm", Platforms="linux/arm64")
    assert one["Data"]["ImageDigest"] == images[1].digest

    none = function.create("s3://archives/multi.tar", f"{named}:s390x", Platforms="linux/s390x")
    assert "platform linux/s390x not found in" in none["Reason"]
    assert "it has linux/amd64, linux/arm64" in none["Reason"]


def test_an_index_json_that_lists_platforms_is_copied_as_the_index(
    function: Function, storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    images = [build_image([LAYERS[0]], "linux/amd64"), build_image([LAYERS[1]], "linux/arm64")]
    contents = [(image, "") for image in images]
    storage.put("multi.tar", build_oci_layout(tmp_path / "a.tar", contents))
    with tarfile.open(tmp_path / "a.tar") as archive:
        index = archive.extractfile("index.json")
        assert index is not None
        content = index.read()

    response = function.create(
        "s3://archives/multi.tar", f"{destination.host}/multi:1", CopyImageIndex=True
    )

    assert response["Status"] == "SUCCESS", response
    assert destination.store.manifest("multi", "1").content == content
    assert response["Data"]["MediaType"] == "application/vnd.oci.image.index.v1+json"
    assert response["Data"]["Platforms"] == "linux/amd64,linux/arm64"


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("save_format", ["folders", "layout"])
def test_an_archive_may_be_compressed_as_a_whole(
    function: Function,
    storage: ObjectStorage,
    destination: RegistryServer,
    tmp_path: Path,
    save_format: DockerSaveFormat,
    suffix: str,
) -> None:
    saved = SavedImage([*LAYERS, LAYERS[1]], ["app:1"])
    plain = build_docker_save(tmp_path / "a.tar", [saved], save_format)
    compressed = tmp_path / f"a.tar.{suffix}"
    compressed.write_bytes(COMPRESS[suffix](plain.read_bytes()))
    storage.put("app", compressed)

    response = function.create("s3://archives/app", f"{destination.host}/app:1")

    assert response["Status"] == "SUCCESS", response
    assert config_of(destination, "app", "1") == saved.config
    assert diff_ids_of(destination, "app", "1") == config_diff_ids(saved.config)


def test_a_platform_that_is_not_in_the_archive_is_an_error_before_anything_is_pushed(
    function: Function, storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    storage.put("app.tar", build_docker_save(tmp_path / "a.tar", [SAVED]))

    response = function.create(
        "s3://archives/app.tar", f"{destination.host}/app:1", Platforms="linux/arm64"
    )

    assert response["Reason"].startswith(
        "platform linux/arm64 not found in s3://archives/app.tar: it is a single image for "
        "linux/amd64"
    )
    assert {entry.method for entry in destination.requests} == {"GET"}


def test_the_object_version_in_the_reference_is_read(
    function: Function, storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    other = SavedImage(LAYERS[:1], ["app:2"])
    first = storage.put("a:b.tar", build_docker_save(tmp_path / "1.tar", [SAVED]))
    storage.put("a:b.tar", build_docker_save(tmp_path / "2.tar", [other]))

    response = function.create(
        f"s3://archives/a:b.tar?versionId={first}", f"{destination.host}/app:1", DestTags=["x"]
    )

    assert response["Status"] == "SUCCESS", response
    assert config_of(destination, "app", "1") == SAVED.config
    assert config_of(destination, "app", "x") == SAVED.config
    assert {entry.parameters["versionId"] for entry in storage.requests} == {first}
