"""Dry runs of archives: no layer is read from S3, and an unknown digest stays empty."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from local.archives import SavedImage, build_docker_save, build_oci_layout
from local.images import build_image, build_layer
from local.objects import ObjectStorage
from local.registry import RegistryServer
from tests.functional.conftest import Function

Start = Callable[..., RegistryServer]
MIB = 1024 * 1024
LAYERS = [build_layer(MIB + each, each, "none") for each in range(3)]
SAVED = SavedImage(LAYERS, ["app:1"], "linux/arm64")


@pytest.fixture
def destination(registries: Start) -> RegistryServer:
    return registries()


def test_the_digest_of_an_image_that_is_not_built_yet_is_empty(
    function: Function,
    storage: ObjectStorage,
    destination: RegistryServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage.put("app.tar", build_docker_save(tmp_path / "a.tar", [SAVED]))
    named = "s3://archives/app.tar", f"{destination.host}/app:1"
    caplog.set_level("INFO", "ecr_image_replicator")

    response = function.create(*named, DryRun="true")

    assert response["Status"] == "SUCCESS", response
    assert storage.bytes_read < MIB // 2
    # the tag, and the config
    assert [each.method for each in destination.requests] == ["GET", "HEAD"]
    data = response["Data"]
    assert (data["Changed"], data["Platforms"]) == ("true", "linux/arm64")
    assert (data["ImageDigest"], data["ImageUri"], data["Digest.arm64"]) == ("", "", "")
    stored = sum(len(layer.content) for layer in LAYERS) + len(SAVED.config)
    assert (data["BlobsCopied"], data["BytesCopied"]) == ("4", str(stored))
    moves = [vars(each) for each in caplog.records if "put a tag" in each.getMessage()]
    assert [each["after"] for each in moves] == ["to be made"]
    # the same attributes as in a real run, for Fn::GetAtt
    assert function.create(*named)["Data"].keys() == data.keys()


def test_the_digest_of_an_existing_image_is_returned(
    function: Function, storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    storage.put("app.tar", build_docker_save(tmp_path / "a.tar", [SAVED]))
    named = "s3://archives/app.tar", f"{destination.host}/app:1"
    real = function.create(*named)
    destination.clear_requests()

    same = function.create(*named, DryRun="true")["Data"]
    another_tag = function.create(*named, DestTags=["2"], DryRun="true")["Data"]

    assert (same["Changed"], another_tag["Changed"]) == ("false", "true")
    assert same["ImageDigest"] == another_tag["ImageDigest"] == real["Data"]["ImageDigest"]
    assert another_tag["BytesCopied"] == "0"
    assert {each.method for each in destination.requests} <= {"GET", "HEAD"}
    assert set(destination.store.tags("app")) == {"1"}


def test_a_changed_image_would_push_only_its_new_layer_and_config(
    function: Function,
    new_function: Callable[[], Function],
    storage: ObjectStorage,
    destination: RegistryServer,
    tmp_path: Path,
) -> None:
    storage.put("app.tar", build_docker_save(tmp_path / "a.tar", [SAVED]))
    named = "s3://archives/app.tar", f"{destination.host}/app:1"
    function.create(*named)
    new = build_layer(70_000, 77, "none")
    changed = SavedImage([*LAYERS[:2], new], ["app:1"])
    storage.put("app.tar", build_docker_save(tmp_path / "b.tar", [changed]))
    storage.clear_requests()
    destination.clear_requests()

    data = new_function().create(*named, DryRun="true")["Data"]

    assert (data["BlobsCopied"], data["BlobsSkipped"]) == ("2", "2")
    assert data["BytesCopied"] == str(len(new.content) + len(changed.config))
    assert {each.method for each in destination.requests} <= {"GET", "HEAD"}
    assert storage.bytes_read < MIB // 2
    real = new_function().create(*named)["Data"]
    assert (real["BlobsCopied"], real["BlobsSkipped"]) == ("2", "2")


def test_the_digest_is_known_if_layers_are_not_compressed(
    function: Function, storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    storage.put("app.tar", build_docker_save(tmp_path / "a.tar", [SAVED]))
    named = "s3://archives/app.tar", f"{destination.host}/app:1"

    planned = function.create(*named, Compression="none", DryRun="true")["Data"]

    assert destination.store.repositories == ()
    real = function.create(*named, Compression="none")["Data"]
    for name in ("ImageDigest", "BlobsCopied", "BytesCopied", "Digest.arm64"):
        assert planned[name] == real[name]


def _compress(path: Path) -> Path:
    path.write_bytes(gzip.compress(path.read_bytes()))
    return path


@pytest.mark.parametrize("is_compressed", [True, False])
def test_the_dry_run_of_an_oci_layout_matches_the_real_run(
    function: Function,
    storage: ObjectStorage,
    destination: RegistryServer,
    tmp_path: Path,
    is_compressed: bool,
) -> None:
    image = build_image([build_layer(9_000, seed=each) for each in range(3)])
    archive = build_oci_layout(tmp_path / "a.tar", [(image, "1")])
    storage.put("app.tar", _compress(archive) if is_compressed else archive)
    named = "s3://archives/app.tar", f"{destination.host}/app:1"

    planned = function.create(*named, DryRun="true")

    assert planned["Status"] == "SUCCESS", planned
    assert {each.method for each in destination.requests} <= {"GET", "HEAD"}
    real = function.create(*named)["Data"]
    for name in ("ImageDigest", "BlobsCopied", "BytesCopied"):
        assert planned["Data"][name] == real[name]


def test_the_byte_count_is_empty_if_only_a_full_read_can_determine_it(
    function: Function, storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    archive = build_docker_save(tmp_path / "a.tar", [SAVED], reverse_order=True)
    storage.put("app.tar.gz", _compress(archive))

    response = function.create(
        "s3://archives/app.tar.gz", f"{destination.host}/app:1", DryRun="true"
    )

    assert response["Status"] == "SUCCESS", response
    assert (response["Data"]["BlobsCopied"], response["Data"]["BytesCopied"]) == ("4", "")
    assert {each.method for each in destination.requests} <= {"GET", "HEAD"}
