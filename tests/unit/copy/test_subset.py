from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.builders import encoded, image, index_document

from ecr_image_replicator.copy.selection import Entry, list_entries
from ecr_image_replicator.copy.subset import SOURCE_ANNOTATION, make_subset
from ecr_image_replicator.model.manifests import (
    DOCKER_MANIFEST_LIST,
    OCI_INDEX,
    ImageIndex,
    Manifest,
    parse_manifest,
)
from ecr_image_replicator.model.platforms import Platform

IMAGES: list[Manifest] = [image([bytes([number])]) for number in range(4)]
NAMES = ("linux/amd64", "linux/arm/v7", "linux/arm64/v8", "windows/amd64")
PLATFORMS = {each.digest: name for each, name in zip(IMAGES, NAMES, strict=True)}


def _index(**more: Any) -> ImageIndex:
    manifest = parse_manifest(encoded(index_document(IMAGES, PLATFORMS, **more)))
    assert isinstance(manifest, ImageIndex)
    return manifest


def _subset(whole: ImageIndex, *positions: int) -> dict[str, Any]:
    entries = list_entries(whole, {})
    made = make_subset(whole, [entries[each] for each in positions], origin="quay.io/team/app")
    document: dict[str, Any] = json.loads(made.content)
    return document


def test_descriptors_are_unchanged() -> None:
    whole = _index()
    listed = json.loads(whole.content)["manifests"]
    assert _subset(whole, 1, 3)["manifests"] == [listed[1], listed[3]]


def test_annotations_are_kept_and_the_source_annotation_is_added() -> None:
    whole = _index(annotations={"org.opencontainers.image.version": "1.0"})
    assert _subset(whole, 0, 1)["annotations"] == {
        "org.opencontainers.image.version": "1.0",
        SOURCE_ANNOTATION: f"quay.io/team/app@{whole.digest}",
    }


def test_a_docker_manifest_list_keeps_its_media_type_and_has_no_annotations() -> None:
    document = _subset(_index(mediaType=DOCKER_MANIFEST_LIST), 0, 2)
    assert document["mediaType"] == DOCKER_MANIFEST_LIST
    assert "annotations" not in document


def test_a_missing_media_type_is_added() -> None:
    whole = index_document(IMAGES, PLATFORMS)
    del whole["mediaType"]
    manifest = parse_manifest(encoded(whole), OCI_INDEX)
    assert isinstance(manifest, ImageIndex)
    assert _subset(manifest, 0, 2)["mediaType"] == OCI_INDEX


def test_the_subject_is_removed() -> None:
    subject = index_document(IMAGES, PLATFORMS)["manifests"][0]
    whole = _index(subject=subject, artifactType="application/x")
    document = _subset(whole, 1, 2)
    assert "subject" not in document
    assert document["artifactType"] == "application/x"


def test_a_platform_from_the_config_is_added_to_the_descriptor() -> None:
    parsed = parse_manifest(encoded(index_document(IMAGES)))
    assert isinstance(parsed, ImageIndex)
    platform = Platform("windows", "arm64", "v9", "10.0.1", ("win32k",))
    entry = Entry(parsed.manifests[2], platform, parsed, 2)
    (descriptor,) = json.loads(make_subset(parsed, [entry], origin="a/b").content)["manifests"]
    assert descriptor["digest"] == str(IMAGES[2].digest)
    assert descriptor["platform"] == {
        "architecture": "arm64",
        "os": "windows",
        "os.version": "10.0.1",
        "os.features": ["win32k"],
        "variant": "v9",
    }


@pytest.mark.parametrize("text", ["ä", "\ud800", "\u2028"])
def test_any_annotation_value_is_preserved(text: str) -> None:
    whole = _index(annotations={"note": text})
    assert _subset(whole, 0, 1)["annotations"]["note"] == text


@given(st.sets(st.integers(0, 3), min_size=1))
def test_the_same_selection_gives_the_same_bytes(positions: set[int]) -> None:
    whole = _index()
    entries = list_entries(whole, {})
    chosen = [entries[each] for each in sorted(positions)]
    first, second = (make_subset(whole, chosen, origin="a/b") for _ in range(2))
    assert first == second
    assert isinstance(first, ImageIndex)
    assert [each.digest for each in first.manifests] == [
        IMAGES[each].digest for each in sorted(positions)
    ]
