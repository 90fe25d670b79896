"""Invalid archives: the error message, and an unchanged destination."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from local.archives import (
    ArchiveFile,
    SavedImage,
    build_config,
    build_docker_save,
    build_oci_layout,
    write_tar,
)
from local.images import build_image, build_layer
from local.objects import ObjectStorage
from local.registry import (
    RegistryServer,
)
from local.registry.digests import digest_of
from local.web import Response
from tests.functional.archive_failures import LAYERS, SAVED, copy_invalid_archive
from tests.functional.conftest import Function
from tests.functional.copied_images import diff_ids_of

Start = Callable[..., RegistryServer]


def saved_files(**changes: bytes | None) -> list[ArchiveFile]:
    """Return the files of a saved image with one layer. None omits a file."""
    config = build_config([LAYERS[0].diff_id])
    files = {
        "layer": LAYERS[0].content,
        "config": config,
        "manifest": json.dumps(
            [{"Config": "config", "RepoTags": ["app:1"], "Layers": ["layer"]}]
        ).encode(),
        **changes,
    }
    names = {"manifest": "manifest.json"}
    return [
        ArchiveFile(names.get(name, name), content)
        for name, content in files.items()
        if content is not None
    ]


def entry(**fields: object) -> bytes:
    return json.dumps([{"Config": "config", "Layers": ["layer"], **fields}]).encode()


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (saved_files(manifest=b"{"), "manifest.json is invalid: not valid JSON"),
        (saved_files(manifest=b'{"Config": "c"}'), "manifest.json is not a list of images"),
        (saved_files(manifest=b"{}"), "no image found in manifest.json"),
        (saved_files(manifest=b"[]"), "no image found in manifest.json"),
        (saved_files(manifest=b"[1]"), "manifest.json lists an image without Config"),
        (
            saved_files(manifest=entry(Layers="layer")),
            "Layers is not a list of strings",
        ),
        (
            saved_files(manifest=entry(Config="gone")),
            "the config 'gone' of manifest.json not",
        ),
        (
            saved_files(manifest=entry(Layers=["gone"])),
            "'gone' not found, which the image refers to",
        ),
        (saved_files(manifest=entry(Layers=[])), "lists 0 layers and the config 'config' lists 1"),
        (
            saved_files(
                manifest=entry(Layers=["layer", "layer"]),
                config=build_config([layer.diff_id for layer in LAYERS[:2]]),
            ),
            "manifest.json lists one file for several layers of the config 'config'",
        ),
        (saved_files(config=b"nonsense"), "'config': the config is invalid: not valid JSON"),
        (saved_files(config=b"{}"), "it has no rootfs.diff_ids"),
        (saved_files(config=build_config(["x"])), "invalid digest 'x'"),
        (
            saved_files(layer=None),
            "'layer' not found, which the image refers to. The archive",
        ),
        (
            saved_files(layer=b"BZh9 and so on"),
            "'layer' has the unsupported compression bzip2.",
        ),
        (saved_files(layer=b"\x1f\x8b and so on"), "the layer 'layer': gzip data is damaged"),
        (
            saved_files(layer=gzip.compress(b"other")),
            "does not match its diff_id in the config: digest mismatch, expected sha256:",
        ),
        (
            saved_files(layer=LAYERS[1].content),
            "invalid archive s3://archives/app.tar: the layer 'layer' does not match its diff_id",
        ),
        (
            [ArchiveFile("etc/passwd", b"root")],
            "neither manifest.json nor index.json found among 1 file: 'etc/passwd'. Use",
        ),
        (
            [ArchiveFile("repositories", b"{}")],
            "a Docker older than 1.10 wrote it. Save",
        ),
        ([ArchiveFile("index.json", b"[]")], "index.json: "),
        ([ArchiveFile("index.json", b'{"manifests": []}')], "no image found in index.json"),
    ],
)
def test_the_message_names_the_invalid_part_of_the_archive(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    files: Sequence[ArchiveFile],
    found: str,
) -> None:
    reason = copy_invalid_archive(function, storage, registries(), write_tar(tmp_path / "a", files))
    assert found in reason


@pytest.mark.parametrize("bomb", ["gzip data", "the layer"])
def test_a_decompression_bomb_is_rejected_at_the_limit(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bomb: str,
) -> None:
    # the default of 1 GiB takes seconds to fill
    monkeypatch.setattr(
        "ecr_image_replicator.archive.compression._FREE_EXPANSION_BYTES", 1024 * 1024
    )
    zeros = bytes(8 * 1024 * 1024)
    files = saved_files(layer=gzip.compress(zeros) if bomb == "the layer" else zeros)
    path = write_tar(tmp_path / "a", files)
    if bomb == "gzip data":
        path.write_bytes(gzip.compress(path.read_bytes()))
    reason = copy_invalid_archive(function, storage, registries(), path)
    assert reason.startswith(f"invalid archive s3://archives/app.tar: {bomb}")
    assert "looks like a decompression bomb" in reason


def test_a_config_that_does_not_match_its_name_is_invalid(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    name = f"{'0' * 64}.json"
    files = [*saved_files(manifest=entry(Config=name)), ArchiveFile(name, SAVED.config)]
    reason = copy_invalid_archive(function, storage, registries(), write_tar(tmp_path / "a", files))
    assert f"digest mismatch: the config '{name}' has the digest sha256:" in reason


@pytest.mark.parametrize("length_ratio", [0.0, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["folders", "layout"])
def test_a_truncated_archive_leaves_the_destination_unchanged(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    length_ratio: float,
    kind: str,
) -> None:
    if kind == "layout":
        archive = build_oci_layout(tmp_path / "a", [(build_image(LAYERS), "app:1")])
    else:
        archive = build_docker_save(tmp_path / "a", [SAVED])
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * length_ratio)])

    reason = copy_invalid_archive(function, storage, registries(), archive)

    assert any(
        word in reason for word in ("truncated", "the object is empty", "neither manifest.json nor")
    )


def test_a_blob_that_does_not_match_its_digest_is_not_pushed(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    image = build_image([build_layer(100_000)])
    path = build_oci_layout(tmp_path / "a", [(image, "")])
    content = bytearray(path.read_bytes())
    layer = next(blob for blob in image.blobs.values() if blob != image.config)
    content[content.index(layer) + 50_000] ^= 1
    path.write_bytes(content)
    storage.put("app.tar", path)
    destination = registries()

    response = function.create("s3://archives/app.tar", f"{destination.host}/app:1")

    assert response["Reason"].startswith(
        "invalid archive s3://archives/app.tar: digest mismatch, expected sha256:"
    )
    assert ". Save or upload the archive again." in response["Reason"]
    assert destination.store.blobs("app") <= {image.manifest, *image.blobs} - {layer}
    assert not destination.store.tags("app")


def build_changed_layout(path: Path, old: bytes, new: bytes) -> Path:
    """Build an OCI layout of one image and replace a text by another of the same length."""
    build_oci_layout(path, [(build_image([build_layer(2000)]), "")])
    content = path.read_bytes()
    assert content.count(old) == 1
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))
    return path


def test_a_manifest_that_does_not_match_its_digest_is_invalid(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    path = build_changed_layout(tmp_path / "a", b'"config":{"mediaType"', b'"config":{"mediaTypo"')
    reason = copy_invalid_archive(function, storage, registries(), path)
    assert reason.startswith(
        "invalid archive s3://archives/app.tar: digest mismatch: expected sha256:"
    )


def test_the_message_names_a_malformed_manifest_of_a_layout(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    image = build_image([build_layer(2000)])
    content = json.dumps(json.loads(image.manifest) | {"layers": [1]}).encode()
    malformed = dataclasses.replace(image, manifest=content, digest=digest_of(content))
    path = build_oci_layout(tmp_path / "a", [(malformed, "")])

    reason = copy_invalid_archive(function, storage, registries(), path)

    name = f"blobs/{digest_of(content).replace(':', '/')}"
    found = f"{name!r}: invalid manifest: layers[0] is not a descriptor"
    assert reason.startswith(f"invalid archive s3://archives/app.tar: {found}")


def test_a_blob_whose_size_differs_from_the_manifest_is_invalid(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    image = build_image([build_layer(2000)])
    digest, content = next(item for item in image.blobs.items() if item[1] != image.config)
    short = dataclasses.replace(image, blobs={**image.blobs, digest: content[:-1]})
    path = build_oci_layout(tmp_path / "a", [(short, "")])
    reason = copy_invalid_archive(function, storage, registries(), path)
    assert reason.startswith(
        f"invalid archive s3://archives/app.tar: digest mismatch: the blob {digest} has "
        f"{len(content) - 1} bytes, expected {len(content)}"
    )


def test_the_message_names_a_missing_blob(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    image = build_image([build_layer(2000)])
    short = dataclasses.replace(image, blobs={})
    path = build_oci_layout(tmp_path / "a", [(short, "")])
    reason = copy_invalid_archive(function, storage, registries(), path)
    assert "invalid archive s3://archives/app.tar: 'blobs/sha256/" in reason


def test_an_s3_response_that_ignores_the_range_is_an_error(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    storage.alteration = lambda _, response: Response(200, {"ETag": '"x"'}, response.body)
    path = build_docker_save(tmp_path / "a", [SAVED])
    reason = copy_invalid_archive(function, storage, registries(), path)
    assert (
        "cannot read s3://archives/app.tar: invalid response: S3 returned another range" in reason
    )


@pytest.mark.parametrize(
    "config", [b"nonsense", b"{}", build_config([]), build_config([LAYERS[0].diff_id] * 3)]
)
def test_an_invalid_image_at_the_destination_is_replaced(
    function: Function,
    storage: ObjectStorage,
    registries: Start,
    tmp_path: Path,
    config: bytes,
) -> None:
    destination = registries()
    layer = build_layer(1000)
    existing = build_image([layer])
    document = json.loads(existing.manifest)
    document["config"] |= {
        "digest": str(destination.store.put_blob("app", config)),
        "size": len(config),
    }
    destination.store.put_blob("app", layer.content)
    destination.store.put_manifest("app", "1", json.dumps(document).encode(), existing.media_type)
    storage.put("app.tar", build_docker_save(tmp_path / "a", [SAVED]))

    response = function.create("s3://archives/app.tar", f"{destination.host}/app:1")

    assert response["Status"] == "SUCCESS", response
    assert diff_ids_of(destination, "app", "1") == [layer.diff_id for layer in LAYERS]


def test_the_message_lists_the_images_if_the_reference_does_not_select_one(
    function: Function, storage: ObjectStorage, registries: Start, tmp_path: Path
) -> None:
    images = [SavedImage(LAYERS[:1], ["one:1", "uno:1"]), SavedImage(LAYERS, ["two:1"])]
    reason = copy_invalid_archive(
        function, storage, registries(), build_docker_save(tmp_path / "a", images)
    )
    assert (
        "the archive holds several images and the reference names none; it has 2 images: @0 one:1, "
        "uno:1; @1 two:1. Add :repository:tag or :@N (the image's position) to "
    ) in reason
