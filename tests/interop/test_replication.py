"""The function in the runtime emulator, copying between two registries of each kind."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from local.images import build_artifact, build_image, build_layer, push
from local.registry.digests import digest_of
from tests.interop.conftest import Registry, RegistryPair, push_by_skopeo
from tests.interop.registries import DockerRegistry, skopeo_copy, skopeo_inspect_raw


def methods(registry: Registry) -> Counter[str]:
    return Counter(entry.method for entry in registry.requests)


def read_back(pair: RegistryPair, image: str, directory: Path, *arguments: str) -> set[str]:
    """Pull an image with skopeo, which verifies digests, and return the digests of its files."""
    skopeo_copy(pair.destination_reference(image), f"dir:{directory}", *arguments)
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in directory.iterdir()}


def blobs_of(manifest: dict[str, Any]) -> set[str]:
    descriptors = [manifest["config"], *manifest["layers"]]
    return {descriptor["digest"].removeprefix("sha256:") for descriptor in descriptors}


@pytest.mark.parametrize("manifest_format", ["oci", "v2s2"])
def test_an_image_is_copied_unchanged(
    pair: RegistryPair, umoci_layout: Path, tmp_path: Path, manifest_format: str
) -> None:
    image = f"single/{manifest_format}:1"
    skopeo_copy(
        f"oci:{umoci_layout}:app", pair.source_reference(image), "--format", manifest_format
    )

    response = pair.replicate(image, image)

    assert response["Status"] == "SUCCESS", response
    raw = skopeo_inspect_raw(pair.destination_reference(image))
    assert raw == skopeo_inspect_raw(pair.source_reference(image))
    assert response["Data"]["ImageDigest"] == f"sha256:{hashlib.sha256(raw).hexdigest()}"
    assert response["Data"]["Platforms"] == "linux/amd64"
    assert response["Data"]["BlobsCopied"] == "4"
    assert blobs_of(json.loads(raw)) <= read_back(pair, image, tmp_path)


def test_request_counts_of_an_image_with_forty_layers(
    pair: RegistryPair, umoci_layout: Path
) -> None:
    skopeo_copy(f"oci:{umoci_layout}:many", pair.source_reference("forty/app:1"))

    response = pair.replicate("forty/app:1", "forty/app:1")

    assert response["Status"] == "SUCCESS", response
    blobs = 41
    assert response["Data"]["BlobsCopied"] == str(blobs)
    requests = methods(pair.destination)
    # HEAD of the first two blobs verifies mounts, unless the warm function has done so before
    assert requests.pop("HEAD", 0) in {0, 2}
    # GET tag, POST and PUT of each blob, PUT manifest
    assert requests == Counter(GET=1, POST=blobs, PUT=blobs + 1)
    assert methods(pair.source) == Counter(HEAD=1, GET=1 + blobs)


def test_an_up_to_date_image_takes_one_request_per_registry(
    pair: RegistryPair, umoci_layout: Path
) -> None:
    skopeo_copy(f"oci:{umoci_layout}:app", pair.source_reference("again/app:1"))
    first = pair.replicate("again/app:1", "again/app:1")

    second = pair.replicate("again/app:1", "again/app:1")

    assert methods(pair.source) == Counter(HEAD=1)
    assert methods(pair.destination) == Counter(GET=1)
    assert second["Data"]["Changed"] == "false"
    assert second["PhysicalResourceId"] == first["PhysicalResourceId"]


def test_an_update_copies_only_the_new_layer(pair: RegistryPair) -> None:
    kept = [build_layer(64 * 1024, seed=seed) for seed in (1, 2)]
    push(build_image(kept), pair.source.host, "update/app", "1")
    pair.replicate("update/app:1", "update/app:1")
    push(build_image([*kept, build_layer(1024, seed=3)]), pair.source.host, "update/app", "1")

    response = pair.replicate("update/app:1", "update/app:1")

    assert (response["Data"]["BlobsCopied"], response["Data"]["BlobsSkipped"]) == ("2", "2")
    # no request for the two layers of the existing tag's manifest: they exist
    blobs = [entry for entry in pair.destination.requests if "/blobs/" in entry.path]
    assert Counter(entry.method for entry in blobs) <= Counter(POST=2, PUT=2, HEAD=2)


def test_a_dry_run_reports_the_same_result_as_the_copy(pair: RegistryPair) -> None:
    kept, new = build_layer(64 * 1024, seed=1), build_layer(70_000, seed=2)
    push(build_image([kept]), pair.source.host, "dry/app", "0")
    pair.replicate("dry/app:0", "dry/app:0")
    push(build_image([kept, new]), pair.source.host, "dry/app", "1")

    planned = pair.replicate("dry/app:1", "dry/app:1", DryRun="true")["Data"]

    # GET tag, HEAD of each of the three blobs
    assert methods(pair.destination) == Counter(GET=1, HEAD=3)
    assert (planned["BlobsCopied"], planned["BlobsSkipped"]) == ("2", "1")
    real = pair.replicate("dry/app:1", "dry/app:1")["Data"]
    assert real["Changed"] == planned["Changed"] == "true"
    assert {**real, "DurationSeconds": ""} == {**planned, "DurationSeconds": ""}


@pytest.mark.parametrize("list_format", ["oci", "v2s2"])
def test_an_index_is_copied_unchanged(
    pair: RegistryPair, four_platforms: Any, tmp_path: Path, list_format: str
) -> None:
    image = f"index/{list_format}:1"
    push_by_skopeo(four_platforms, pair, image, "--format", list_format)

    response = pair.replicate(image, image, CopyImageIndex="true")

    assert response["Status"] == "SUCCESS", response
    raw = skopeo_inspect_raw(pair.destination_reference(image))
    assert raw == skopeo_inspect_raw(pair.source_reference(image))
    assert response["Data"]["Platforms"] == "linux/amd64,linux/arm64,linux/arm/v7,linux/s390x"
    found = read_back(pair, image, tmp_path, "--all")
    for child in json.loads(raw)["manifests"]:
        assert child["digest"].removeprefix("sha256:") in found


def test_one_platform_of_an_index_keeps_its_digest(pair: RegistryPair, four_platforms: Any) -> None:
    push_by_skopeo(four_platforms, pair, "one/app:1")

    response = pair.replicate("one/app:1", "one/app:arm", ImageArch=["arm64"])

    index = json.loads(skopeo_inspect_raw(pair.source_reference("one/app:1")))
    (child,) = [m for m in index["manifests"] if m["platform"]["architecture"] == "arm64"]
    assert response["Data"]["ImageDigest"] == child["digest"]
    assert response["Data"]["Digest.arm64"] == child["digest"]
    raw = skopeo_inspect_raw(pair.destination_reference("one/app:arm"))
    assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == child["digest"]


def test_an_artifact_is_copied_unchanged(pair: RegistryPair) -> None:
    artifact = build_artifact(
        "application/vnd.example.chart", [("application/vnd.example.chart.v1.tar", b"chart" * 99)]
    )
    push(artifact, pair.source.host, "artifact/chart", "1")

    response = pair.replicate("artifact/chart:1", "artifact/chart:1")

    assert response["Status"] == "SUCCESS", response
    assert skopeo_inspect_raw(pair.destination_reference("artifact/chart:1")) == artifact.manifest


def test_a_duplicate_layer_is_copied_once(pair: RegistryPair) -> None:
    layer = build_layer(64 * 1024, seed=77)
    push(build_image([layer, layer]), pair.source.host, "repeat/app", "1")

    response = pair.replicate("repeat/app:1", "repeat/app:1")

    assert response["Data"]["BlobsCopied"] == "2"
    assert methods(pair.source) == Counter(HEAD=1, GET=3)


def test_a_foreign_layer_is_not_copied(pair: RegistryPair) -> None:
    foreign = build_layer(1024, seed=78, urls=("https://example.com/layer",))
    image = build_image([foreign, build_layer(1024, seed=79)])
    push(image, pair.source.host, "foreign/app", "1")

    response = pair.replicate("foreign/app:1", "foreign/app:1")

    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["BlobsCopied"] == "2"
    assert skopeo_inspect_raw(pair.destination_reference("foreign/app:1")) == image.manifest


def test_a_foreign_layer_without_urls_is_pushed_where_the_registry_requires_it(
    pair: RegistryPair,
) -> None:
    own, base = build_layer(1024, seed=85), build_layer(1024, seed=86)
    for number, layer in enumerate((own, base)):
        push(build_image([layer]), pair.source.host, "foreign/base", str(number))
    image = build_image([own])
    document = json.loads(image.manifest)
    kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    document["layers"].append({"mediaType": kind, "digest": base.digest, "size": len(base.content)})
    manifest = json.dumps(document).encode()
    blobs = {**image.blobs, base.digest: base.content}
    content = dataclasses.replace(image, manifest=manifest, digest=digest_of(manifest), blobs=blobs)
    push(content, pair.source.host, "foreign/base", "all")

    response = pair.replicate("foreign/base:all", "foreign/base:all")

    assert response["Status"] == "SUCCESS", response
    assert skopeo_inspect_raw(pair.destination_reference("foreign/base:all")) == manifest
    is_required = isinstance(pair.destination, DockerRegistry)
    assert response["Data"]["BlobsCopied"] == ("3" if is_required else "2")


def test_blobs_are_mounted_within_one_registry(pair: RegistryPair) -> None:
    image = build_image([build_layer(64 * 1024, seed=seed) for seed in (81, 82)])
    push(image, pair.destination.host, "mount/from", "1")
    pair.destination.clear_requests()
    response = pair.function.invoke(
        {
            "RequestType": "Create",
            "ResourceProperties": {
                "SrcImage": f"{pair.destination.host}/mount/from:1",
                "DestImage": f"{pair.destination.host}/mount/to:1",
                "DestTags": ["2", "3"],
            },
        }
    )

    assert response["Data"]["BlobsMounted"] == "3"
    assert response["Data"]["BytesCopied"] == "0"
    for tag in "123":
        raw = skopeo_inspect_raw(pair.destination_reference(f"mount/to:{tag}"))
        assert raw == image.manifest


def test_copying_to_another_tag_of_the_repository_copies_no_blob(pair: RegistryPair) -> None:
    push(build_image([build_layer(1024, seed=83)]), pair.destination.host, "retag/app", "1")
    pair.destination.clear_requests()

    response = pair.function.invoke(
        {
            "RequestType": "Create",
            "ResourceProperties": {
                "SrcImage": f"{pair.destination.host}/retag/app:1",
                "DestImage": f"{pair.destination.host}/retag/app:2",
            },
        }
    )

    assert response["Status"] == "SUCCESS", response
    # both tags, GET and PUT of the manifest, GET of the config for its platform
    assert methods(pair.destination) == Counter(HEAD=1, GET=3, PUT=1)


def test_a_failed_copy_leaves_the_tag_unchanged(pair: RegistryPair, four_platforms: Any) -> None:
    old = build_image([build_layer(1024, seed=90)])
    push(old, pair.destination.host, "failing/app", "1")
    push_by_skopeo(four_platforms, pair, "failing/app:1")

    response = pair.replicate("failing/app:1", "failing/app:1", ImageArch=["riscv64"])

    assert response["Status"] == "FAILED"
    assert "linux/riscv64" in response["Reason"]
    assert "linux/s390x" in response["Reason"]
    assert skopeo_inspect_raw(pair.destination_reference("failing/app:1")) == old.manifest


def test_the_error_for_a_missing_image_has_its_name_and_code(pair: RegistryPair) -> None:
    response = pair.replicate("no/such:1", "no/such:1")

    assert response["Status"] == "FAILED"
    assert f"{pair.source.host}/no/such:1" in response["Reason"]
    assert "MANIFEST_UNKNOWN" in response["Reason"] or "NAME_UNKNOWN" in response["Reason"]
    assert response["PhysicalResourceId"] == "not-created/Image/request"
