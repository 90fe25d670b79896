"""Archives in the formats of many programs, and archives with conflicting manifests."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from local.archives import (
    ArchiveFile,
    Program,
    SavedImage,
    build_archive_of,
    build_docker_save,
    build_export,
    build_oci_layout,
    write_tar,
)
from local.images import (
    Compression,
    Content,
    Image,
    build_image,
    build_index,
    build_layer,
)
from local.objects import ObjectStorage
from local.registry import RegistryServer
from local.registry.digests import digest_of
from tests.functional.conftest import Function
from tests.functional.copied_images import config_of, diff_ids_of, manifest_of

Start = Callable[..., RegistryServer]
Copy = Callable[..., dict[str, Any]]

PLAIN = [build_layer(50_000 + seed, seed, "none") for seed in range(3)]
PACKED = [build_layer(50_000 + seed, seed, "gzip") for seed in range(3)]
SKIPPABLE = b"\x5a\x2a\x4d\x18\x04\x00\x00\x00skip"


@pytest.fixture
def destination(registries: Start) -> RegistryServer:
    return registries()


@pytest.fixture
def copy(function: Function, storage: ObjectStorage, destination: RegistryServer) -> Copy:
    """Copy an archive to the repository ``app``, tag 1."""

    def run(path: Path, selector: str = "", **properties: Any) -> dict[str, Any]:
        storage.put("app.tar", path)
        return function.create(
            f"s3://archives/app.tar{selector}", f"{destination.host}/app:1", **properties
        )

    return run


def changed(image: Image, **fields: Any) -> Image:
    """Return the image with these fields replaced in its manifest."""
    content = json.dumps({**json.loads(image.manifest), **fields}).encode()
    return dataclasses.replace(image, manifest=content, digest=digest_of(content))


def diff_ids_in(image: Image) -> list[str]:
    found: list[str] = json.loads(image.config)["rootfs"]["diff_ids"]
    return found


def assert_copied(response: dict[str, Any], destination: RegistryServer, config: bytes) -> None:
    assert response["Status"] == "SUCCESS", response
    assert config_of(destination, "app", "1") == config
    assert diff_ids_of(destination, "app", "1") == json.loads(config)["rootfs"]["diff_ids"]


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("docker for windows", "none"),
        ("podman", "none"),
        ("kaniko", "gzip"),
        ("ko", "gzip"),
        ("jib", "gzip"),
        ("nix", "none"),
        ("rules_oci", "gzip"),
    ],
)
def test_an_archive_of_another_program_is_copied(
    copy: Copy,
    destination: RegistryServer,
    tmp_path: Path,
    program: Program,
    kind: Compression,
    is_compressed: bool,
) -> None:
    layers = PLAIN if kind == "none" else PACKED
    saved = SavedImage([*layers, layers[0]], ["team/app:1"])
    path = build_archive_of(tmp_path / "a.tar", program, saved)
    if is_compressed:
        path.write_bytes(gzip.compress(path.read_bytes()))

    response = copy(path, ":team/app:1")

    assert_copied(response, destination, saved.config)


@pytest.mark.parametrize("format_", ["oci", "docker"])
def test_an_export_with_compressed_layers_keeps_its_manifest(
    copy: Copy, destination: RegistryServer, tmp_path: Path, format_: Any
) -> None:
    image = build_image(PACKED, format=format_)

    response = copy(build_export(tmp_path / "a.tar", [(image, "app:1")]))

    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["ImageDigest"] == image.digest
    assert destination.store.manifest("app", "1").content == image.manifest


@pytest.mark.parametrize(("compression", "suffix"), [("gzip", "+gzip"), ("zstd", "+zstd")])
def test_uncompressed_layers_of_docker_25_are_compressed(
    copy: Copy, destination: RegistryServer, tmp_path: Path, compression: str, suffix: str
) -> None:
    image = build_image(PLAIN)
    path = build_export(tmp_path / "a.tar", [(image, "app:1")])

    response = copy(path, Compression=compression)
    again = copy(path, Compression=compression)

    assert_copied(response, destination, image.config)
    layers = manifest_of(destination, "app", "1")["layers"]
    assert {layer["mediaType"].partition("tar")[2] for layer in layers} == {suffix}
    assert again["Data"]["Changed"] == "false"


def test_compression_none_pushes_docker_25s_manifest_byte_for_byte(
    copy: Copy, destination: RegistryServer, tmp_path: Path
) -> None:
    image = build_image(PLAIN)

    copy(build_export(tmp_path / "a.tar", [(image, "app:1")]), Compression="none")

    assert destination.store.manifest("app", "1").content == image.manifest


@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize("layers", ["reversed", "missing"])
def test_manifest_json_overrides_docker_25s_oci_manifest(
    copy: Copy, destination: RegistryServer, tmp_path: Path, layers: str, compression: str
) -> None:
    image = build_image(PLAIN)
    right = json.loads(image.manifest)["layers"]
    wrong = changed(image, layers=right[::-1] if layers == "reversed" else [])
    entry = {
        "Config": f"blobs/{digest_of(image.config).replace(':', '/')}",
        "RepoTags": ["app:1"],
        "Layers": [f"blobs/{layer['digest'].replace(':', '/')}" for layer in right],
    }
    path = build_export(tmp_path / "a.tar", [(wrong, "app:1")], manifest=[entry])

    assert_copied(copy(path, Compression=compression), destination, image.config)


def test_diff_ids_override_manifest_json(
    copy: Copy, destination: RegistryServer, tmp_path: Path
) -> None:
    image = build_image(PLAIN)
    wrong = changed(image, layers=json.loads(image.manifest)["layers"][::-1])

    response = copy(build_export(tmp_path / "a.tar", [(wrong, "app:1")]))

    assert_copied(response, destination, image.config)


@pytest.mark.parametrize("manifests", [None, []])
def test_manifest_json_is_used_if_index_json_has_no_manifests(
    copy: Copy, destination: RegistryServer, tmp_path: Path, manifests: list[Any] | None
) -> None:
    image = build_image(PLAIN)
    index = {"schemaVersion": 2, "manifests": manifests}
    path = build_export(tmp_path / "a.tar", [(image, "")], index=index)

    assert_copied(copy(path), destination, image.config)


@pytest.mark.parametrize("manifest", [[], None])
def test_index_json_is_used_if_manifest_json_has_no_images(
    copy: Copy, tmp_path: Path, manifest: list[Any] | None
) -> None:
    image = build_image(PACKED)
    path = build_export(tmp_path / "a.tar", [(image, "app:1")], manifest=manifest or [])

    assert copy(path)["Data"]["ImageDigest"] == image.digest


PLATFORMS = ("linux/amd64", "linux/arm64")


def test_the_message_for_a_sparse_archive_names_the_platforms_that_it_holds(
    copy: Copy, tmp_path: Path
) -> None:
    images = [build_image(PACKED, platform) for platform in PLATFORMS]
    index = build_index(images)
    path = build_export(
        tmp_path / "a.tar",
        [(index, "app:1")],
        manifest=[],
        without=[images[0].digest, digest_of(images[0].config)],
    )

    absent = copy(path)
    present = copy(path, Platforms="linux/arm64")

    assert "platform linux/amd64 not found" in absent["Reason"]
    assert "it holds linux/arm64" in absent["Reason"]
    assert "docker save --platform linux/amd64" in absent["Reason"]
    assert present["Data"]["ImageDigest"] == images[1].digest


@pytest.mark.parametrize("platforms", ["linux/arm64", "all"])
def test_an_index_of_uncompressed_images_is_copied(
    copy: Copy, destination: RegistryServer, tmp_path: Path, platforms: str
) -> None:
    images = [build_image(PLAIN[:2], PLATFORMS[0]), build_image(PLAIN[1:], PLATFORMS[1])]
    index = build_index(images)
    path = build_export(tmp_path / "a.tar", [(index, "app:1")])

    response = copy(path, Platforms=platforms)
    again = copy(path, Platforms=platforms)

    assert again["Data"]["Changed"] == "false"
    if platforms == "all":
        assert destination.store.manifest("app", "1").content == index.manifest
        return
    assert_copied(response, destination, images[1].config)
    media_types = {layer["mediaType"] for layer in manifest_of(destination, "app", "1")["layers"]}
    assert media_types == {"application/vnd.oci.image.layer.v1.tar+gzip"}


@pytest.mark.parametrize("dry_run", ["true", "false"])
def test_the_platform_of_an_uncompressed_image_is_that_in_its_index(
    copy: Copy, tmp_path: Path, dry_run: str
) -> None:
    index = build_index([build_image(PLAIN[:2]), build_image(PLAIN[1:], "linux/arm")])
    document = json.loads(index.manifest)
    document["manifests"][1]["platform"]["variant"] = "v6"
    content = json.dumps(document).encode()
    index = dataclasses.replace(index, manifest=content, digest=digest_of(content))
    path = build_export(tmp_path / "a.tar", [(index, "app:1")])

    response = copy(path, Platforms="linux/arm/v6", DryRun=dry_run)

    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["Platforms"] == "linux/arm/v6"


def test_a_layout_without_manifest_json_is_copied_byte_for_byte(
    copy: Copy, destination: RegistryServer, tmp_path: Path
) -> None:
    image = build_image(PLAIN)

    copy(build_oci_layout(tmp_path / "a.tar", [(image, "app:1")]))

    assert destination.store.manifest("app", "1").content == image.manifest


@pytest.mark.parametrize("rootfs", [{"rootfs": {"type": "layers"}}, {"rootfs": None}, {}])
def test_an_archive_without_layers_is_copied(
    copy: Copy, destination: RegistryServer, tmp_path: Path, rootfs: dict[str, Any]
) -> None:
    config = json.dumps({"os": "linux", "architecture": "amd64", **rootfs}).encode()
    entry = {"Config": "config.json", "RepoTags": ["app:1"], "Layers": None}
    manifest = ArchiveFile("manifest.json", json.dumps([entry]).encode())

    copy(write_tar(tmp_path / "a.tar", [ArchiveFile("config.json", config), manifest]))

    assert manifest_of(destination, "app", "1")["layers"] == []


def test_a_layout_without_layers_is_copied(
    copy: Copy, destination: RegistryServer, tmp_path: Path
) -> None:
    copy(build_docker_save(tmp_path / "a.tar", [SavedImage([], ["app:1"])], "layout"))

    assert manifest_of(destination, "app", "1")["layers"] == []


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_config_that_is_only_embedded_as_data_is_copied(
    copy: Copy, destination: RegistryServer, tmp_path: Path, is_compressed: bool
) -> None:
    image = build_image(PACKED)
    document = json.loads(image.manifest)
    document["config"]["data"] = base64.b64encode(image.config).decode()
    embedding = changed(image, config=document["config"])
    blobs = {digest: blob for digest, blob in image.blobs.items() if blob != image.config}
    path = build_oci_layout(tmp_path / "a.tar", [(dataclasses.replace(embedding, blobs=blobs), "")])
    if is_compressed:
        path.write_bytes(gzip.compress(path.read_bytes()))

    response = copy(path)

    assert response["Data"]["ImageDigest"] == embedding.digest
    assert config_of(destination, "app", "1") == image.config


def test_a_zstd_archive_with_a_skippable_frame_is_copied(
    copy: Copy, destination: RegistryServer, tmp_path: Path
) -> None:
    saved = SavedImage(PLAIN, ["app:1"])
    path = build_docker_save(tmp_path / "a.tar", [saved])
    path.write_bytes(SKIPPABLE + zstandard.ZstdCompressor().compress(path.read_bytes()))

    assert_copied(copy(path), destination, saved.config)


def test_a_zstd_layer_with_a_skippable_frame_is_copied(
    copy: Copy, destination: RegistryServer, tmp_path: Path
) -> None:
    content = SKIPPABLE + zstandard.ZstdCompressor().compress(PLAIN[0].content)
    layer = dataclasses.replace(
        PLAIN[0], content=content, digest=digest_of(content), compression="zstd"
    )
    saved = SavedImage([layer, PLAIN[1]], ["app:1"])

    response = copy(build_archive_of(tmp_path / "a.tar", "podman", saved))

    assert response["Status"] == "SUCCESS", response
    layers = manifest_of(destination, "app", "1")["layers"]
    assert layers[0]["digest"] == layer.digest
    assert layers[0]["mediaType"].endswith("+zstd")


def test_127_layers_are_copied(copy: Copy, destination: RegistryServer, tmp_path: Path) -> None:
    saved = SavedImage([build_layer(400, seed, "none") for seed in range(127)], ["app:1"])

    response = copy(build_docker_save(tmp_path / "a.tar", [saved]))

    assert_copied(response, destination, saved.config)
    assert response["Data"]["BlobsCopied"] == "128"


def test_100_images_are_copied(copy: Copy, destination: RegistryServer, tmp_path: Path) -> None:
    layers = [build_layer(200, 1)]
    images = [build_image(layers, labels={"number": str(number)}) for number in range(100)]
    index = build_index(images)

    response = copy(build_oci_layout(tmp_path / "a.tar", [(index, "app:1")]), Platforms="all")

    assert response["Data"]["ImageDigest"] == index.digest
    assert len(manifest_of(destination, "app", "1")["manifests"]) == 100


def _padded(content: Content, size_bytes: int) -> Content:
    assert isinstance(content, Image)
    padding = size_bytes - len(changed(content, annotations={"a": ""}).manifest)
    return changed(content, annotations={"a": "x" * padding})


def test_a_manifest_above_4_mib_is_an_error(copy: Copy, tmp_path: Path) -> None:
    largest = _padded(build_image(PACKED), 4 * 1024 * 1024)
    too_large = _padded(build_image(PACKED), 4 * 1024 * 1024 + 1)

    fits = copy(build_oci_layout(tmp_path / "a.tar", [(largest, "")]))
    fails = copy(build_oci_layout(tmp_path / "b.tar", [(too_large, "")]))

    assert fits["Data"]["ImageDigest"] == largest.digest
    assert "has 4194305 bytes, the maximum is 4194304" in fails["Reason"]


def test_layers_with_the_verified_annotation_are_verified(copy: Copy, tmp_path: Path) -> None:
    marker = {"ecr-image-replicator.layers": "verified"}
    honest = build_image(PACKED, annotations=marker)
    others = build_image([build_layer(100, 40 + seed) for seed in range(3)], annotations=marker)
    document = json.loads(honest.manifest)
    document["layers"] = json.loads(others.manifest)["layers"]
    forged = dataclasses.replace(
        changed(honest, layers=document["layers"]), blobs={**honest.blobs, **others.blobs}
    )

    fine = copy(build_oci_layout(tmp_path / "a.tar", [(honest, "")]))
    wrong = copy(build_oci_layout(tmp_path / "b.tar", [(forged, "")]))

    assert fine["Data"]["ImageDigest"] == honest.digest
    assert "digest mismatch" in wrong["Reason"]
    assert diff_ids_in(honest) == [layer.diff_id for layer in PACKED]
