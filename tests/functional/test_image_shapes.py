"""Images of unusual shapes, copied byte for byte."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
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


class Scene:
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
def scene(function: Function, registries: Start) -> Scene:
    return Scene(function, registries)


def test_an_image_without_layers(scene: Scene) -> None:
    image = build_image([])
    scene.assert_copied(scene.copy(image), image)


def test_an_image_of_127_layers(scene: Scene) -> None:
    image = build_image([build_layer(300, seed=number) for number in range(127)])
    response = scene.copy(image)
    scene.assert_copied(response, image)
    assert response["Data"]["BlobsCopied"] == "128"


def test_an_index_of_100_images(scene: Scene) -> None:
    shared = build_layer(500, seed=7)
    index = build_index([build_image([shared], f"linux/arch{number}") for number in range(100)])
    response = scene.copy(index, Platforms="all")
    scene.assert_copied(response, index)
    assert response["Data"]["BlobsCopied"] == "101"


def test_a_manifest_of_4_mib(scene: Scene) -> None:
    small = build_image([build_layer(300, seed=1)], annotations={"padding": ""})
    padding = "x" * (4 * 1024 * 1024 - len(small.manifest))
    image = build_image([build_layer(300, seed=1)], annotations={"padding": padding})
    assert len(image.manifest) == 4 * 1024 * 1024
    scene.assert_copied(scene.copy(image), image)


def test_a_foreign_layer_is_named_and_not_copied(scene: Scene) -> None:
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
    response = scene.copy(image)
    scene.assert_copied(response, image)
    assert response["Data"]["BlobsCopied"] == "2"


@pytest.mark.parametrize("with_referrers", [False, True])
def test_an_empty_config_that_is_only_embedded_as_data(
    scene: Scene, *, with_referrers: bool
) -> None:
    artifact = build_artifact("application/spdx+json", [("text/plain", b"sbom")])
    document = json.loads(artifact.manifest)
    document["config"]["data"] = base64.b64encode(b"{}").decode()
    embedded = _with_document(artifact, document)
    push(embedded, scene.source.host, "team/app", "1")
    if with_referrers:
        push(sbom(embedded), scene.source.host, "team/app")
    scene.source.store.delete_blob("team/app", document["config"]["digest"])

    response = scene.copy_pushed(CopyReferrers=str(with_referrers).lower())

    scene.assert_copied(response, embedded)
    assert scene.destination.store.find_blob("mirror/app", document["config"]["digest"])


def test_a_soci_index_stays_beside_its_image_in_a_subset(scene: Scene) -> None:
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

    one = scene.copy(index, Platforms="linux/arm64")
    assert one["Data"]["ImageDigest"] == images[1].digest

    two = scene.copy_pushed(Platforms="linux/arm64,linux/s390x")
    assert two["Data"]["Platforms"] == "linux/arm64,linux/s390x"
    assert two["Data"]["Digest.arm64"] == images[1].digest
    document = scene.destination.store.manifest("mirror/app", "1").document
    assert [each["digest"] for each in document["manifests"]] == [
        each.digest for each in (indexes[1], images[1], indexes[2], images[2])
    ]

    every = scene.copy_pushed(Platforms="all")
    scene.assert_copied(every, index)

    docker = scene.copy_pushed(Platforms="all", Format="docker")
    converted = scene.destination.store.manifest("mirror/app", "1").document
    assert len(converted["manifests"]) == 3, docker


def test_referrers_of_a_zero_layer_image(scene: Scene) -> None:
    image = build_image([])
    push(image, scene.source.host, "team/app", "1")
    attached = sbom(image)
    push(attached, scene.source.host, "team/app")
    scene.assert_copied(scene.copy_pushed(CopyReferrers="required"), image)
    assert referrers(scene.destination, image.digest) == {attached.digest}


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
