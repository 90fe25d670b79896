"""Format: conversion between Docker manifests and OCI manifests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from local.archives import SavedImage, build_docker_save, build_oci_layout
from local.images import Image, build_artifact, build_image, build_index, build_layer, push
from local.images.manifests import Format
from local.objects import ObjectStorage
from local.registry import RegistryServer
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import (
    attestation,
    cosign_tag,
    manifest_puts,
    pem,
    sbom,
    signature,
    signatures,
)

Start = Callable[..., RegistryServer]
KEY = ec.generate_private_key(ec.SECP256R1())
MANIFESTS = {
    "docker": "application/vnd.docker.distribution.manifest.v2+json",
    "oci": "application/vnd.oci.image.manifest.v1+json",
}
INDEXES = {
    "docker": "application/vnd.docker.distribution.manifest.list.v2+json",
    "oci": "application/vnd.oci.image.index.v1+json",
}
CONFIGS = {
    "docker": "application/vnd.docker.container.image.v1+json",
    "oci": "application/vnd.oci.image.config.v1+json",
}
LAYERS = {
    "docker": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "oci": "application/vnd.oci.image.layer.v1.tar+gzip",
}
BOTH_WAYS: list[tuple[Format, Format]] = [("oci", "docker"), ("docker", "oci")]


class RegistryPair:
    """A source and a destination, and copies between them."""

    def __init__(self, function: Function, registries: Start) -> None:
        self.function = function
        self.source, self.destination = registries(), registries()

    def copy(self, tag: str = "1", **properties: Any) -> dict[str, Any]:
        return self.function.create(
            f"{self.source.host}/team/app:{tag}", f"{self.destination.host}/app:{tag}", **properties
        )

    def document(self, reference: str = "1") -> dict[str, Any]:
        return dict(self.destination.store.manifest("app", reference).document)

    def media_types(self, document: dict[str, Any]) -> set[str]:
        return {document["config"]["mediaType"], *(e["mediaType"] for e in document["layers"])}


@pytest.fixture
def pair(function: Function, registries: Start) -> RegistryPair:
    return RegistryPair(function, registries)


def _image(form: Format, platform: str = "linux/amd64", seed: int = 1, **more: Any) -> Image:
    layers = [build_layer(2000, seed=seed), build_layer(900, seed=99)]
    return build_image(layers, platform, form, **more)


@pytest.mark.parametrize(("form", "target"), BOTH_WAYS)
def test_an_image_is_converted_and_unchanged_in_the_next_run(
    pair: RegistryPair, form: Format, target: Format
) -> None:
    image = _image(form)
    push(image, pair.source.host, "team/app", "1")

    first = pair.copy(Format=target, DestTags="latest")

    assert first["Status"] == "SUCCESS", first
    assert first["Data"]["MediaType"] == MANIFESTS[target]
    assert first["Data"]["ImageDigest"] != image.digest
    document = pair.document()
    assert pair.media_types(document) == {CONFIGS[target], LAYERS[target]}
    assert {*pair.destination.store.blobs("app")} == {*image.blobs}
    digest = first["Data"]["ImageDigest"]
    assert {*pair.destination.store.tags("app").values()} == {digest}
    assert first["Data"]["Digest.amd64"] == digest

    pair.destination.clear_requests()
    again = pair.copy(Format=target, DestTags="latest")
    assert (again["Data"]["Changed"], again["Data"]["ImageDigest"]) == ("false", digest)
    assert manifest_puts(pair.destination) == []


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_an_image_that_has_the_format_is_copied_byte_for_byte(
    pair: RegistryPair, form: Format
) -> None:
    image = _image(form)
    push(image, pair.source.host, "team/app", "1")

    response = pair.copy(Format=form)

    assert response["Data"]["ImageDigest"] == image.digest
    assert pair.copy(Format=form)["Data"]["Changed"] == "false"


@pytest.mark.parametrize(("form", "target"), BOTH_WAYS)
def test_an_index_is_converted_with_its_images(
    pair: RegistryPair, form: Format, target: Format
) -> None:
    platforms = ("linux/amd64", "linux/arm64")
    images = [_image(form, each, seed) for seed, each in enumerate(platforms)]
    push(build_index(images, form), pair.source.host, "team/app", "1")

    response = pair.copy(
        Format=target, Platforms="all", ArchImageTags={"amd64": "1-amd64", "arm64": "1-arm64"}
    )

    assert response["Status"] == "SUCCESS", response
    document = pair.document()
    assert document["mediaType"] == response["Data"]["MediaType"] == INDEXES[target]
    tags = pair.destination.store.tags("app")
    for entry, arch in zip(document["manifests"], ("amd64", "arm64"), strict=True):
        assert entry["mediaType"] == MANIFESTS[target]
        assert entry["platform"] == {"os": "linux", "architecture": arch}
        assert entry["digest"] == response["Data"][f"Digest.{arch}"] == tags[f"1-{arch}"]
        assert pair.media_types(pair.document(entry["digest"])) == {
            CONFIGS[target],
            LAYERS[target],
        }


def test_one_platform_and_a_subset_are_converted(pair: RegistryPair) -> None:
    images = [
        _image("oci", f"linux/{arch}", seed)
        for seed, arch in enumerate(("amd64", "arm64", "s390x"))
    ]
    attested, notes = attestation(images[0])
    index = build_index([*images, attested], descriptor_annotations=[None, None, None, notes])
    push(index, pair.source.host, "team/app", "1")

    one = pair.copy(Format="docker", Platforms="linux/arm64")
    assert one["Data"]["MediaType"] == MANIFESTS["docker"]
    assert one["Data"]["Digest.arm64"] == one["Data"]["ImageDigest"]

    two = pair.copy(Format="docker", Platforms="linux/amd64,linux/s390x")
    assert two["Status"] == "SUCCESS", two
    document = pair.document()
    assert document["mediaType"] == INDEXES["docker"]
    assert "annotations" not in document
    # the attestation is left out: it refers to the digest before the conversion
    assert [each["platform"]["architecture"] for each in document["manifests"]] == [
        "amd64",
        "s390x",
    ]
    again = pair.copy(Format="docker", Platforms="linux/amd64,linux/s390x")
    assert again["Data"]["Changed"] == "false"


def test_an_index_is_converted_within_a_repository(function: Function, registries: Start) -> None:
    registry = registries()
    index = build_index([_image("oci"), _image("oci", "linux/arm64", 2)])
    push(index, registry.host, "team/app", "1")

    response = function.create(
        f"{registry.host}/team/app:1",
        f"{registry.host}/team/app:docker",
        Format="docker",
        Platforms="all",
    )

    assert response["Status"] == "SUCCESS", response
    document = registry.store.manifest("team/app", "docker").document
    assert {each["mediaType"] for each in document["manifests"]} == {MANIFESTS["docker"]}
    assert response["Data"]["BlobsCopied"] == "0"


def test_a_dry_run_returns_the_converted_digest(pair: RegistryPair) -> None:
    push(_image("oci"), pair.source.host, "team/app", "1")

    planned = pair.copy(Format="docker", DryRun="true")["Data"]

    assert pair.destination.store.repositories == ()
    assert planned["ImageDigest"] == pair.copy(Format="docker")["Data"]["ImageDigest"]


def test_the_signature_of_the_sources_digest_is_verified(pair: RegistryPair) -> None:
    image = _image("oci")
    push(image, pair.source.host, "team/app", "1")
    key = pem(KEY)
    assert "signature" in pair.copy(Format="docker", VerifySignatureKey=key)["Reason"]
    signed = signatures([signature(KEY, image.digest)])
    push(signed, pair.source.host, "team/app", cosign_tag(image.digest))

    response = pair.copy(Format="docker", VerifySignatureKey=key)

    assert response["Status"] == "SUCCESS", response


def test_copyreferrers_is_invalid_if_the_digest_changes(pair: RegistryPair) -> None:
    image = _image("oci")
    push(image, pair.source.host, "team/app", "1")
    push(sbom(image), pair.source.host, "team/app")

    response = pair.copy(Format="docker", CopyReferrers="true")

    assert response["Status"] == "FAILED"
    assert "invalid CopyReferrers: converting" in response["Reason"]
    assert pair.destination.store.repositories == ()
    assert pair.copy(Format="oci", CopyReferrers="true")["Data"]["ReferrersCopied"] == "1"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_image("oci", subject=_image("oci", seed=5)), "it has a subject"),
        (build_artifact("application/spdx+json", [("text/plain", b"-")]), "it has an artifactType"),
        (build_image([build_layer(900, 1, "zstd")]), "is compressed with zstd"),
    ],
)
def test_a_manifest_that_cannot_be_converted_is_an_error_before_anything_is_pushed(
    pair: RegistryPair, content: Image, reason: str
) -> None:
    push(content, pair.source.host, "team/app", "1")

    response = pair.copy(Format="docker", Platforms="all")

    assert response["Status"] == "FAILED"
    assert "invalid Format: cannot convert manifest" in response["Reason"]
    assert reason in response["Reason"]
    assert pair.destination.store.repositories == ()


@pytest.mark.parametrize("target", ["docker", "oci"])
def test_a_docker_save_archive_is_converted(
    pair: RegistryPair, storage: ObjectStorage, tmp_path: Path, target: Format
) -> None:
    saved = SavedImage([build_layer(30_000, 1, "none"), build_layer(9000, 2, "none")], ["app:1"])
    storage.put("app.tar", build_docker_save(tmp_path / "app.tar", [saved]))
    destination = f"{pair.destination.host}/app:1"

    planned = pair.function.create(
        "s3://archives/app.tar", destination, Format=target, DryRun="true"
    )
    first = pair.function.create("s3://archives/app.tar", destination, Format=target)
    again = pair.function.create("s3://archives/app.tar", destination, Format=target)

    assert first["Status"] == "SUCCESS", first
    assert first["Data"]["MediaType"] == planned["Data"]["MediaType"] == MANIFESTS[target]
    assert pair.media_types(pair.document()) == {CONFIGS[target], LAYERS[target]}
    assert again["Data"]["Changed"] == "false"
    other = "oci" if target == "docker" else "docker"
    changed = pair.function.create("s3://archives/app.tar", destination, Format=other)
    assert changed["Data"]["MediaType"] == MANIFESTS[other]
    assert changed["Data"]["BlobsCopied"] == "0"


def test_an_oci_layout_is_converted(
    pair: RegistryPair, storage: ObjectStorage, tmp_path: Path
) -> None:
    index = build_index([_image("oci"), _image("oci", "linux/arm64", 2)])
    storage.put("app.tar", build_oci_layout(tmp_path / "app.tar", [(index, "")]))

    response = pair.function.create(
        "s3://archives/app.tar", f"{pair.destination.host}/app:1", Format="docker", Platforms="all"
    )

    assert response["Status"] == "SUCCESS", response
    assert (
        json.loads(pair.destination.store.manifest("app", "1").content)["mediaType"]
        == (INDEXES["docker"])
    )
