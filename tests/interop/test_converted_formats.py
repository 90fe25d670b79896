"""Format: skopeo reads converted images and indexes, in both directions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from local.images import build_image, build_index, build_layer
from local.images.manifests import Format
from tests.interop.conftest import RegistryPair, push_by_skopeo
from tests.interop.registries import skopeo_copy, skopeo_inspect_raw

MANIFESTS = {
    "docker": "application/vnd.docker.distribution.manifest.v2+json",
    "oci": "application/vnd.oci.image.manifest.v1+json",
}
INDEXES = {
    "docker": "application/vnd.docker.distribution.manifest.list.v2+json",
    "oci": "application/vnd.oci.image.index.v1+json",
}
BOTH_WAYS: list[tuple[Format, Format]] = [("oci", "docker"), ("docker", "oci")]


@pytest.mark.parametrize(("form", "target"), BOTH_WAYS)
def test_skopeo_reads_a_converted_image_and_index(
    pair: RegistryPair, tmp_path: Path, form: Format, target: Format
) -> None:
    images = [
        build_image([build_layer(3000, seed=seed), build_layer(500, seed=70)], platform, form)
        for seed, platform in enumerate(("linux/amd64", "linux/arm64"))
    ]
    source = f"formats/{form}:1"
    push_by_skopeo(build_index(images, form), pair, source)

    one = pair.replicate(source, f"formats/{target}:one", Format=target)
    every = pair.replicate(source, f"formats/{target}:all", Format=target, Platforms="all")

    assert one["Data"]["MediaType"] == MANIFESTS[target], one
    assert every["Data"]["MediaType"] == INDEXES[target], every
    index = json.loads(skopeo_inspect_raw(pair.destination_reference(f"formats/{target}:all")))
    assert [each["mediaType"] for each in index["manifests"]] == [MANIFESTS[target]] * 2
    # skopeo verifies every digest and size while it copies
    for tag in ("one", "all"):
        skopeo_copy(
            pair.destination_reference(f"formats/{target}:{tag}"),
            f"dir:{tmp_path / tag}",
            "--all",
            "--preserve-digests",
        )
    again = pair.replicate(source, f"formats/{target}:all", Format=target, Platforms="all")
    assert again["Data"]["Changed"] == "false"
