from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.builders import encoded, entry, image, index, manifest_document

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.model.conversion import ManifestFormat, convert_content
from ecr_image_replicator.model.manifests import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
    ImageIndex,
    ImageManifest,
    Manifest,
    parse_manifest,
)
from ecr_image_replicator.request.properties import property_name

OCI_LAYER = "application/vnd.oci.image.layer"
DOCKER_LAYER = "application/vnd.docker.image.rootfs"


def _convert(manifest: Manifest, target: str, *children: Manifest) -> Manifest:
    below = {child.digest: child for child in children}
    return convert_content(manifest, below, ManifestFormat(target)).root


def _document(manifest: Manifest) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(manifest.content)
    return document


def _with_layer(media_type: str, **more: Any) -> Manifest:
    return parse_manifest(
        encoded(manifest_document() | {"layers": [entry(b"x", media_type, **more)]})
    )


@pytest.mark.parametrize(
    ("oci", "docker"),
    [
        (f"{OCI_LAYER}.v1.tar", f"{DOCKER_LAYER}.diff.tar"),
        (f"{OCI_LAYER}.v1.tar+gzip", f"{DOCKER_LAYER}.diff.tar.gzip"),
        (f"{OCI_LAYER}.nondistributable.v1.tar", f"{DOCKER_LAYER}.foreign.diff.tar"),
        (f"{OCI_LAYER}.nondistributable.v1.tar+gzip", f"{DOCKER_LAYER}.foreign.diff.tar.gzip"),
    ],
)
def test_an_image_is_converted_in_both_directions(oci: str, docker: str) -> None:
    source = _with_layer(oci, urls=["https://example.com/layer"])
    converted = _convert(source, "docker")
    document = _document(converted)
    assert converted.media_type == document["mediaType"] == DOCKER_MANIFEST
    assert document["config"]["mediaType"] == DOCKER_CONFIG
    assert document["layers"] == [entry(b"x", docker, urls=["https://example.com/layer"])]
    assert _document(_convert(converted, "oci")) == _document(source)


def test_a_manifest_in_the_requested_format_is_unchanged() -> None:
    noted = image(annotations={"note": "kept"})
    assert _convert(noted, "oci") is noted
    docker = _convert(image(), "docker")
    assert _convert(docker, "docker") is docker
    both = index([noted])
    assert _convert(both, "oci", noted) is both


def test_annotations_are_dropped() -> None:
    noted = parse_manifest(
        encoded(
            manifest_document(annotations={"a": "b"})
            | {"layers": [entry(b"x", annotations={"c": "d"})]}
        )
    )
    assert b"annotations" not in _convert(noted, "docker").content


def test_an_image_without_layers_is_converted() -> None:
    assert _document(_convert(image([]), "docker"))["layers"] == []
    missing = parse_manifest(encoded(manifest_document() | {"layers": None}))
    assert _document(_convert(missing, "docker"))["layers"] == []


def test_an_index_is_converted_with_its_children_and_platforms() -> None:
    children = [image([name]) for name in (b"amd", b"arm")]
    root = index(
        children,
        {children[0].digest: "linux/amd64", children[1].digest: "linux/arm/v7"},
        annotations={"a": "b"},
    )
    below = {child.digest: child for child in children}
    converted = convert_content(root, below, ManifestFormat.DOCKER)
    document = _document(converted.root)
    assert document["mediaType"] == DOCKER_MANIFEST_LIST
    assert "annotations" not in document
    assert [each["mediaType"] for each in document["manifests"]] == [DOCKER_MANIFEST] * 2
    assert [each["platform"] for each in document["manifests"]] == [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm", "variant": "v7"},
    ]
    assert [each["digest"] for each in document["manifests"]] == [
        str(converted.digests[child.digest]) for child in children
    ]
    assert {*converted.children} == {*converted.digests.values()}
    back = convert_content(converted.root, converted.children, ManifestFormat.OCI)
    assert back.root.media_type == OCI_INDEX
    assert {each.media_type for each in back.children.values()} == {OCI_MANIFEST}


def test_an_index_of_children_with_the_format_only_changes_its_media_type() -> None:
    docker = _convert(image(), "docker")
    root = index([docker], {docker.digest: "linux/amd64"})
    converted = convert_content(root, {docker.digest: docker}, ManifestFormat.DOCKER)
    assert converted.root.media_type == DOCKER_MANIFEST_LIST
    assert converted.children == {docker.digest: docker}


def test_nested_indexes_are_converted() -> None:
    child = image()
    inner = index([child])
    root = index([inner])
    converted = convert_content(
        root, {inner.digest: inner, child.digest: child}, ManifestFormat.DOCKER
    )
    assert {each.media_type for each in converted.children.values()} == {
        DOCKER_MANIFEST,
        DOCKER_MANIFEST_LIST,
    }


def _index_with_attestation() -> tuple[ImageIndex, ImageManifest, ImageManifest]:
    child, attestation = image(), image([b"in-toto"])
    platforms = {child.digest: "linux/amd64", attestation.digest: "unknown/unknown"}
    return index([child, attestation], platforms), child, attestation


def test_an_index_with_attestations_that_has_the_format_is_unchanged() -> None:
    root, child, attestation = _index_with_attestation()
    assert _convert(root, "oci", child, attestation) is root


def test_a_nested_index_that_has_the_format_keeps_its_attestations() -> None:
    nested, child, attestation = _index_with_attestation()
    other = _convert(image([b"other"]), "docker")
    below = {each.digest: each for each in (nested, child, attestation, other)}
    converted = convert_content(index([nested, other]), below, ManifestFormat.OCI)
    assert converted.children.keys() >= {nested.digest, child.digest, attestation.digest}
    assert other.digest not in converted.children


def test_an_index_without_manifests_is_converted() -> None:
    root = parse_manifest(encoded({"mediaType": OCI_INDEX, "manifests": None}))
    assert _document(_convert(root, "docker"))["manifests"] == []


def test_attestations_are_omitted() -> None:
    root, child, _ = _index_with_attestation()
    converted = convert_content(root, {child.digest: child}, ManifestFormat.DOCKER)
    assert {*converted.digests} == {child.digest}


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (image(subject=entry(b"{}", OCI_MANIFEST)), "it has a subject"),
        (image(artifactType="application/spdx+json"), "it has an artifactType"),
        (_with_layer(f"{OCI_LAYER}.v1.tar+zstd"), "is compressed with zstd"),
        (_with_layer("application/vnd.cncf.helm.chart.content.v1.tar+gzip"), "has the media type"),
    ],
)
def test_content_unsupported_by_the_format_is_an_error(manifest: Manifest, reason: str) -> None:
    for root, children in ((manifest, ()), (index([manifest]), (manifest,))):
        with pytest.raises(RequestError) as caught:
            _convert(root, "docker", *children)
        message = caught.value.render(property_name)
        assert message.startswith(f"invalid Format: cannot convert manifest {manifest.digest} ")
        assert reason in message
