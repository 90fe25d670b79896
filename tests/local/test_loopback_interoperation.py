from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from local.images import (
    Compression,
    Content,
    Format,
    build_artifact,
    build_image,
    build_index,
    build_layer,
    push,
)
from local.registry import BasicAuthentication, BearerAuthentication, RegistryServer
from tests.local.wire_client import basic

Skopeo = Callable[..., str]
PLAIN = ("--src-tls-verify=false", "--dest-tls-verify=false")
PLATFORMS = ("linux/amd64", "linux/arm64/v8")


def multi_platform(format_: Format) -> Content:
    shared = build_layer(300_000)
    images = [
        build_image([shared, build_layer(200_000, seed)], platform, format_)
        for seed, platform in enumerate(PLATFORMS, start=1)
    ]
    return build_index(images, format_)


@pytest.mark.parametrize("format_", ["oci", "docker"])
def test_skopeo_copies_between_two_loopback_registries(
    registry: RegistryServer, skopeo: Skopeo, format_: Format
) -> None:
    index = multi_platform(format_)
    push(index, registry.host, "team/app", "1")
    with RegistryServer(blob_redirects="absolute") as destination:
        skopeo(
            *("copy", "--all", "--preserve-digests", *PLAIN),
            f"docker://{registry.host}/team/app:1",
            f"docker://{destination.host}/copy:1",
        )
        assert destination.store.manifest("copy", "1").content == index.manifest
        assert destination.store.blobs("copy") == set(index.blobs)
        assert destination.store.open_uploads == ()
        skopeo(
            *("copy", "--all", "--preserve-digests", *PLAIN),
            f"docker://{destination.host}/copy:1",
            f"docker://{registry.host}/back:1",
        )
        assert destination.storage_requests
    assert registry.store.tags("back") == {"1": index.digest}


def test_skopeo_copies_to_and_from_docker_registry(
    registry: RegistryServer, skopeo: Skopeo, docker_registry: str
) -> None:
    index = multi_platform("oci")
    push(index, registry.host, "app", "1")
    for source, destination in ((registry.host, docker_registry), (docker_registry, registry.host)):
        name = "back" if destination == registry.host else "app"
        skopeo(
            *("copy", "--all", "--preserve-digests", *PLAIN),
            f"docker://{source}/app:1",
            f"docker://{destination}/{name}:1",
        )
    assert registry.store.tags("back") == {"1": index.digest}


@pytest.mark.parametrize("format_", ["oci", "docker"])
def test_built_images_can_be_pushed_to_docker_registry(
    docker_registry: str, skopeo: Skopeo, format_: Format
) -> None:
    index = multi_platform(format_)
    push(index, docker_registry, f"built/{format_}", "1")
    reference = f"docker://{docker_registry}/built/{format_}:1"
    raw = skopeo("inspect", "--raw", "--tls-verify=false", reference)
    assert raw.encode() == index.manifest


def test_an_artifact_is_pushed_to_docker_registry(docker_registry: str) -> None:
    artifact = build_artifact("application/x", [("text/plain", b"hello")])
    assert push(artifact, docker_registry, "artifact", "1") == artifact.digest


def test_skopeo_inspects_built_images(registry: RegistryServer, skopeo: Skopeo) -> None:
    image = build_image([build_layer(100_000)], labels={"purpose": "test"})
    push(image, registry.host, "app", "1")
    inspected = json.loads(
        skopeo("inspect", "--tls-verify=false", f"docker://{registry.host}/app:1")
    )
    assert inspected["Digest"] == image.digest
    assert inspected["Labels"] == {"purpose": "test"}
    assert inspected["RepoTags"] == ["1"]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_skopeo_unpacks_built_layers(
    registry: RegistryServer, skopeo: Skopeo, tmp_path: Path, compression: Compression
) -> None:
    layer = build_layer(500_000, compression=compression)
    push(build_image([layer]), registry.host, "app", "1")
    skopeo(
        *("copy", "--dest-decompress", "--src-tls-verify=false"),
        f"docker://{registry.host}/app:1",
        f"dir:{tmp_path}",
    )
    unpacked = tmp_path / layer.diff_id.removeprefix("sha256:")
    assert unpacked.read_bytes() == build_layer(500_000, compression="none").content


def test_skopeo_mounts_blobs_within_a_registry(registry: RegistryServer, skopeo: Skopeo) -> None:
    push(build_image([build_layer(100_000, seed=77)]), registry.host, "base", "1")
    # the first copy fills skopeo's cache of blob locations
    for target in ("first", "second"):
        skopeo(
            *("copy", *PLAIN),
            f"docker://{registry.host}/base:1",
            f"docker://{registry.host}/{target}:1",
        )
    mounts = [entry for entry in registry.requests if "mount" in entry.parameters]
    assert mounts
    assert {entry.status for entry in mounts} == {201}


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_skopeo_authenticates(skopeo: Skopeo, scheme: str) -> None:
    users = {"ann": "pass:word"}
    image = build_image([build_layer(10_000)])
    authentication = (
        BasicAuthentication(users)
        if scheme == "basic"
        else BearerAuthentication(users, anonymous_pull=False)
    )
    with RegistryServer() as source, RegistryServer(authentication=authentication) as target:
        push(image, source.host, "app", "1")
        skopeo(
            *("copy", *PLAIN, "--dest-creds=ann:pass:word"),
            f"docker://{source.host}/app:1",
            f"docker://{target.host}/app:1",
        )
        assert target.store.tags("app") == {"1": image.digest}
        skopeo(
            *("copy", *PLAIN, "--src-creds=ann:pass:word"),
            f"docker://{target.host}/app:1",
            f"docker://{source.host}/back:1",
        )
        assert source.store.tags("back") == {"1": image.digest}
        if scheme == "basic":
            push(image, target.host, "b", "1", authorization=basic("ann", "pass:word"))


def test_skopeo_lists_and_deletes_tags(registry: RegistryServer, skopeo: Skopeo) -> None:
    push(build_image([]), registry.host, "app", "1")
    push(build_image([]), registry.host, "app", "2")
    listed = json.loads(skopeo("list-tags", "--tls-verify=false", f"docker://{registry.host}/app"))
    assert listed["Tags"] == ["1", "2"]
    # skopeo deletes the manifest of the tag, which deletes its other tags
    skopeo("delete", "--tls-verify=false", f"docker://{registry.host}/app:1")
    assert registry.store.tags("app") == {}
