"""Images of unusual shapes, copied byte for byte."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from local.images import Content, Image, build_artifact, build_image, build_index, build_layer, push
from local.registry import RegistryServer
from local.registry.digests import digest_of
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import index_of, referrers, sbom

Start = Callable[..., RegistryServer]
SOCI_INDEX = "application/vnd.amazon.soci.index.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class RegistryPair:
    """A source and a destination, and copies between them."""

    def __init__(self, function: Function, registries: Start) -> None:
        self.function = function
        self.source, self.destination = registries(), registries()

    def copy(self, content: Content, **properties: Any) -> dict[str, Any]:
        push(content, self.source.host, "team/app", "1")
        return self.copy_pushed(**properties)

    def copy_pushed(self, **properties: Any) -> dict[str, Any]:
        return self.function.create(
            f"{self.source.host}/team/app:1", f"{self.destination.host}/mirror/app:1", **properties
        )

    def assert_copied(self, response: dict[str, Any], content: Content) -> None:
        assert response["Status"] == "SUCCESS", response
        assert response["Data"]["ImageDigest"] == content.digest
        stored = self.destination.store.manifest("mirror/app", "1")
        assert stored.content == content.manifest
        assert self.copy_pushed(Platforms="all")["Data"]["Changed"] == "false"


@pytest.fixture
def pair(function: Function, registries: Start) -> RegistryPair:
    return RegistryPair(function, registries)


def test_an_image_without_layers_is_copied(pair: RegistryPair) -> None:
    image = build_image([])
    pair.assert_copied(pair.copy(image), image)


def test_an_image_with_127_layers_is_copied(pair: RegistryPair) -> None:
    image = build_image([build_layer(300, seed=number) for number in range(127)])
    response = pair.copy(image)
    pair.assert_copied(response, image)
    assert response["Data"]["BlobsCopied"] == "128"


def test_an_index_with_100_images_is_copied(pair: RegistryPair) -> None:
    shared = build_layer(500, seed=7)
    index = build_index([build_image([shared], f"linux/arch{number}") for number in range(100)])
    response = pair.copy(index, Platforms="all")
    pair.assert_copied(response, index)
    assert response["Data"]["BlobsCopied"] == "101"


def test_an_image_with_a_manifest_of_4_mib_is_copied(pair: RegistryPair) -> None:
    small = build_image([build_layer(300, seed=1)], annotations={"padding": ""})
    padding = "x" * (4 * 1024 * 1024 - len(small.manifest))
    image = build_image([build_layer(300, seed=1)], annotations={"padding": padding})
    assert len(image.manifest) == 4 * 1024 * 1024
    pair.assert_copied(pair.copy(image), image)


def test_a_foreign_layer_is_kept_in_the_manifest_and_not_copied(pair: RegistryPair) -> None:
    own, foreign = build_layer(900, seed=1), build_layer(800, seed=2)
    image = build_image([own])
    document = json.loads(image.manifest)
    document["layers"].insert(
        0,
        {
            "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "digest": foreign.digest,
            "size": len(foreign.content),
            "urls": ["https://example.com/base"],
        },
    )
    image = _with_document(image, document)
    response = pair.copy(image)
    pair.assert_copied(response, image)
    assert response["Data"]["BlobsCopied"] == "2"


@pytest.mark.parametrize("with_referrers", [False, True])
def test_an_empty_config_that_is_only_embedded_as_data_is_pushed(
    pair: RegistryPair, *, with_referrers: bool
) -> None:
    artifact = build_artifact("application/spdx+json", [("text/plain", b"sbom")])
    document = json.loads(artifact.manifest)
    document["config"]["data"] = base64.b64encode(b"{}").decode()
    embedded = _with_document(artifact, document)
    push(embedded, pair.source.host, "team/app", "1")
    if with_referrers:
        push(sbom(embedded), pair.source.host, "team/app")
    pair.source.store.delete_blob("team/app", document["config"]["digest"])

    response = pair.copy_pushed(CopyReferrers=str(with_referrers).lower())

    pair.assert_copied(response, embedded)
    assert pair.destination.store.find_blob("mirror/app", document["config"]["digest"])


def test_soci_indexes_are_copied_with_the_images_of_a_platform_subset(pair: RegistryPair) -> None:
    images = [
        build_image([build_layer(900, seed=seed)], f"linux/{arch}")
        for seed, arch in enumerate(("amd64", "arm64", "s390x"))
    ]
    indexes = [
        build_artifact(SOCI_INDEX, [("application/octet-stream", bytes([n]) * 9)]) for n in range(3)
    ]
    # the SOCI index of an image precedes it, with the same platform
    entries: list[Mapping[str, Any]] = []
    children: list[Image] = []
    for image, described in zip(images, indexes, strict=True):
        arch = str(image.platform).partition("/")[2]
        platform = {"os": "linux", "architecture": arch}
        notes = {"com.amazon.soci.image-manifest-digest": image.digest}
        entries += [
            {"platform": platform, "artifactType": SOCI_INDEX, "annotations": notes},
            {"platform": platform},
        ]
        children += [described, image]
    index = index_of(children, entries)

    one = pair.copy(index, Platforms="linux/arm64")
    assert one["Data"]["ImageDigest"] == images[1].digest

    two = pair.copy_pushed(Platforms="linux/arm64,linux/s390x")
    assert two["Data"]["Platforms"] == "linux/arm64,linux/s390x"
    assert two["Data"]["Digest.arm64"] == images[1].digest
    document = pair.destination.store.manifest("mirror/app", "1").document
    assert [each["digest"] for each in document["manifests"]] == [
        each.digest for each in (indexes[1], images[1], indexes[2], images[2])
    ]

    every = pair.copy_pushed(Platforms="all")
    pair.assert_copied(every, index)

    docker = pair.copy_pushed(Platforms="all", Format="docker")
    converted = pair.destination.store.manifest("mirror/app", "1").document
    assert len(converted["manifests"]) == 3, docker


def test_referrers_of_an_image_without_layers_are_copied(pair: RegistryPair) -> None:
    image = build_image([])
    push(image, pair.source.host, "team/app", "1")
    attached = sbom(image)
    push(attached, pair.source.host, "team/app")
    pair.assert_copied(pair.copy_pushed(CopyReferrers="required"), image)
    assert referrers(pair.destination, image.digest) == {attached.digest}


def _with_document(image: Image, document: dict[str, Any]) -> Image:
    manifest = json.dumps(document).encode()
    return Image(
        manifest,
        image.media_type,
        digest_of(manifest),
        image.config,
        image.blobs,
        image.platform,
        image.artifact_type,
    )


def test_an_image_with_an_invalid_config_is_copied_without_a_platform(pair: RegistryPair) -> None:
    image = build_image([build_layer(300, seed=1)])
    config = b'{"architecture": '
    document = json.loads(image.manifest)
    document["config"] |= {"digest": digest_of(config), "size": len(config)}
    blobs = {**image.blobs, digest_of(config): config}
    broken = replace(_with_document(image, document), blobs=blobs)

    response = pair.copy(broken)

    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["Platforms"] == ""
    assert pair.copy_pushed(ImageArch="amd64")["Reason"].startswith(
        f"platform linux/amd64 not found in {pair.source.host}/team/app:1: it is a single image "
        "without a platform. Remove ImageArch or choose another image."
    )
