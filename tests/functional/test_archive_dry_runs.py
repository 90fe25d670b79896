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


def test_an_image_that_is_to_be_made_has_no_digest_yet(
    function: Function,
    storage: ObjectStorage,
    destination: RegistryServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage.put("app.tar", build_docker_save(tmp_path / "a.tar", [SAVED]))
    named = "s3://archives/app.tar", f"{destination.host}/app:1"
    caplog.set_level("INFO", "ecr_image_replicator")

    answer = function.create(*named, DryRun="true")

    assert answer["Status"] == "SUCCESS", answer
    assert storage.bytes_read < MIB // 2
    # the tag, and whether the config is there
    assert [each.method for each in destination.requests] == ["GET", "HEAD"]
    data = answer["Data"]
    assert (data["Changed"], data["Platforms"]) == ("true", "linux/arm64")
    assert (data["ImageDigest"], data["ImageUri"], data["Digest.arm64"]) == ("", "", "")
    stored = sum(len(layer.content) for layer in LAYERS) + len(SAVED.config)
    assert (data["BlobsCopied"], data["BytesCopied"]) == ("4", str(stored))
    moves = [vars(each) for each in caplog.records if "put a tag" in each.getMessage()]
    assert [each["after"] for each in moves] == ["to be made"]
    # every name is there that a real run's answer has: a stack's Fn::GetAtt finds it
    assert function.create(*named)["Data"].keys() == data.keys()


def test_what_is_there_already_is_known_by_its_digest(
    function: Function, storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    storage.put("app.tar", build_docker_save(tmp_path / "a.tar", [SAVED]))
    named = "s3://archives/app.tar", f"{destination.host}/app:1"
    real = function.create(*named)
    destination.clear_requests()

    same = function.create(*named, DryRun="true")["Data"]
    further = function.create(*named, DestTags=["2"], DryRun="true")["Data"]

    assert (same["Changed"], further["Changed"]) == ("false", "true")
    assert same["ImageDigest"] == further["ImageDigest"] == real["Data"]["ImageDigest"]
    assert further["BytesCopied"] == "0"
    assert {each.method for each in destination.requests} <= {"GET", "HEAD"}
    assert set(destination.store.tags("app")) == {"1"}


def test_of_a_changed_image_only_what_is_new_would_be_sent(
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


def test_layers_that_go_as_they_are_make_the_digest_known(
    function: Function, storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    storage.put("app.tar", build_docker_save(tmp_path / "a.tar", [SAVED]))
    named = "s3://archives/app.tar", f"{destination.host}/app:1"

    promised = function.create(*named, Compression="none", DryRun="true")["Data"]

    assert destination.store.repositories == ()
    real = function.create(*named, Compression="none")["Data"]
    for name in ("ImageDigest", "BlobsCopied", "BytesCopied", "Digest.arm64"):
        assert promised[name] == real[name]


def _compressed(path: Path) -> Path:
    path.write_bytes(gzip.compress(path.read_bytes()))
    return path


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_layout_is_planned_as_a_registry_is(
    function: Function,
    storage: ObjectStorage,
    destination: RegistryServer,
    tmp_path: Path,
    is_whole: bool,
) -> None:
    image = build_image([build_layer(9_000, seed=each) for each in range(3)])
    archive = build_oci_layout(tmp_path / "a.tar", [(image, "1")])
    storage.put("app.tar", _compressed(archive) if is_whole else archive)
    named = "s3://archives/app.tar", f"{destination.host}/app:1"

    promised = function.create(*named, DryRun="true")

    assert promised["Status"] == "SUCCESS", promised
    assert {each.method for each in destination.requests} <= {"GET", "HEAD"}
    real = function.create(*named)["Data"]
    for name in ("ImageDigest", "BlobsCopied", "BytesCopied"):
        assert promised["Data"][name] == real[name]


def test_what_only_reading_through_would_tell_is_left_open(
    function: Function, storage: ObjectStorage, destination: RegistryServer, tmp_path: Path
) -> None:
    archive = build_docker_save(tmp_path / "a.tar", [SAVED], backwards=True)
    storage.put("app.tar.gz", _compressed(archive))

    answer = function.create("s3://archives/app.tar.gz", f"{destination.host}/app:1", DryRun="true")

    assert answer["Status"] == "SUCCESS", answer
    assert (answer["Data"]["BlobsCopied"], answer["Data"]["BytesCopied"]) == ("4", "")
    assert {each.method for each in destination.requests} <= {"GET", "HEAD"}
