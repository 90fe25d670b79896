from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile

import pytest
from local.images import (
    PushError,
    build_artifact,
    build_image,
    build_index,
    build_layer,
    push,
)
from local.registry import RegistryServer


def test_a_layer_is_a_tar_of_files_and_is_reproducible() -> None:
    layer = build_layer(10_001, seed=3)
    archive = gzip.decompress(layer.content)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert sum(member.size for member in tar.getmembers()) == 10_001
    assert layer.diff_id == "sha256:" + hashlib.sha256(archive).hexdigest()
    assert layer == build_layer(10_001, seed=3)
    assert layer != build_layer(10_001, seed=4)
    assert build_layer(10_001, 3, "none").content == archive


def test_docker_manifests_have_no_type_for_a_zstd_layer() -> None:
    layer = build_layer(100, compression="zstd")
    assert layer.media_type("oci").endswith("tar+zstd")
    with pytest.raises(ValueError, match="Docker"):
        layer.media_type("docker")


def test_an_image_describes_its_config_and_layers() -> None:
    layers = [build_layer(100, seed) for seed in range(2)]
    image = build_image(layers, "linux/arm64/v8", annotations={"k": "v"})
    document = json.loads(image.manifest)
    config = json.loads(image.config)
    assert document["mediaType"] == image.media_type
    assert [layer["digest"] for layer in document["layers"]] == [each.digest for each in layers]
    assert document["annotations"] == {"k": "v"}
    assert config["rootfs"]["diff_ids"] == [layer.diff_id for layer in layers]
    assert (config["architecture"], config["variant"]) == ("arm64", "v8")
    assert image.digest == "sha256:" + hashlib.sha256(image.manifest).hexdigest()


def test_the_media_type_can_be_omitted_from_the_manifest() -> None:
    assert "mediaType" not in json.loads(build_image([], media_type_in_body=False).manifest)


def test_an_index_describes_platforms_and_can_hold_an_index() -> None:
    image = build_image([], "linux/arm/v7")
    inner = build_index([image], descriptor_annotations=[{"a": "b"}])
    outer = build_index([inner], annotations={"c": "d"})
    (descriptor,) = json.loads(inner.manifest)["manifests"]
    assert descriptor["platform"] == {"os": "linux", "architecture": "arm", "variant": "v7"}
    assert descriptor["annotations"] == {"a": "b"}
    assert json.loads(outer.manifest)["manifests"][0]["digest"] == inner.digest


def test_an_artifact_has_the_empty_config_and_a_subject() -> None:
    subject = build_image([])
    artifact = build_artifact("application/x", [("text/plain", b"hi")], subject=subject)
    document = json.loads(artifact.manifest)
    assert document["artifactType"] == "application/x"
    assert document["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert document["subject"]["digest"] == subject.digest
    assert set(artifact.blobs.values()) == {b"{}", b"hi"}


def test_a_push_sends_each_blob_once(registry: RegistryServer) -> None:
    shared = build_layer(1000)
    index = build_index(
        [build_image([shared], platform) for platform in ("linux/amd64", "linux/arm64")]
    )
    assert push(index, registry.host, "app", "1") == index.digest
    assert registry.store.manifest("app", "1").content == index.manifest
    assert registry.store.blobs("app") == set(index.blobs)
    registry.clear_requests()
    push(index, registry.host, "app", "2")
    assert {entry.method for entry in registry.requests} == {"HEAD", "PUT"}


def test_a_rejected_push_is_an_error(registry: RegistryServer) -> None:
    with pytest.raises(PushError, match="400"):
        push(build_image([]), registry.host, "BAD", "1")
