"""The whole function under the runtime emulator, between two registries of either kind."""

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
from tests.interop.conftest import Ends, Registry, push_by_skopeo
from tests.interop.registries import DockerRegistry, skopeo_copy, skopeo_inspect_raw


def methods(registry: Registry) -> Counter[str]:
    return Counter(entry.method for entry in registry.requests)


def read_back(ends: Ends, image: str, directory: Path, *arguments: str) -> set[str]:
    """Let skopeo, which verifies every digest, copy an image out; the digests of its files."""
    skopeo_copy(ends.destination_reference(image), f"dir:{directory}", *arguments)
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in directory.iterdir()}


def blobs_of(manifest: dict[str, Any]) -> set[str]:
    descriptors = [manifest["config"], *manifest["layers"]]
    return {descriptor["digest"].removeprefix("sha256:") for descriptor in descriptors}


@pytest.mark.parametrize("manifest_format", ["oci", "v2s2"])
def test_an_image_arrives_byte_for_byte(
    ends: Ends, umoci_layout: Path, tmp_path: Path, manifest_format: str
) -> None:
    image = f"single/{manifest_format}:1"
    skopeo_copy(
        f"oci:{umoci_layout}:app", ends.source_reference(image), "--format", manifest_format
    )

    answer = ends.replicate(image, image)

    assert answer["Status"] == "SUCCESS", answer
    raw = skopeo_inspect_raw(ends.destination_reference(image))
    assert raw == skopeo_inspect_raw(ends.source_reference(image))
    assert answer["Data"]["ImageDigest"] == f"sha256:{hashlib.sha256(raw).hexdigest()}"
    assert answer["Data"]["Platforms"] == "linux/amd64"
    assert answer["Data"]["BlobsCopied"] == "4"
    assert blobs_of(json.loads(raw)) <= read_back(ends, image, tmp_path)


def test_forty_layers_cost_two_requests_each_and_four(ends: Ends, umoci_layout: Path) -> None:
    skopeo_copy(f"oci:{umoci_layout}:many", ends.source_reference("forty/app:1"))

    answer = ends.replicate("forty/app:1", "forty/app:1")

    assert answer["Status"] == "SUCCESS", answer
    blobs = 41
    assert answer["Data"]["BlobsCopied"] == str(blobs)
    # the tag and the manifest once each; a HEAD on the first two blobs proves the mounts' word
    assert methods(ends.destination) == Counter(GET=1, HEAD=2, POST=blobs, PUT=blobs + 1)
    assert methods(ends.source) == Counter(HEAD=1, GET=1 + blobs)


def test_what_is_there_already_costs_one_request_a_side(ends: Ends, umoci_layout: Path) -> None:
    skopeo_copy(f"oci:{umoci_layout}:app", ends.source_reference("again/app:1"))
    first = ends.replicate("again/app:1", "again/app:1")

    second = ends.replicate("again/app:1", "again/app:1")

    assert methods(ends.source) == Counter(HEAD=1)
    assert methods(ends.destination) == Counter(GET=1)
    assert second["Data"]["Changed"] == "false"
    assert second["PhysicalResourceId"] == first["PhysicalResourceId"]


def test_an_update_moves_only_the_new_layer(ends: Ends) -> None:
    kept = [build_layer(64 * 1024, seed=seed) for seed in (1, 2)]
    push(build_image(kept), ends.source.host, "update/app", "1")
    ends.replicate("update/app:1", "update/app:1")
    push(build_image([*kept, build_layer(1024, seed=3)]), ends.source.host, "update/app", "1")

    answer = ends.replicate("update/app:1", "update/app:1")

    assert (answer["Data"]["BlobsCopied"], answer["Data"]["BlobsSkipped"]) == ("2", "2")
    # nobody asks for the two layers that the tag's manifest names: they are known to be there
    blobs = [entry for entry in ends.destination.requests if "/blobs/" in entry.path]
    assert Counter(entry.method for entry in blobs) <= Counter(POST=2, PUT=2, HEAD=2)


def test_a_dry_run_promises_what_then_comes(ends: Ends) -> None:
    kept, new = build_layer(64 * 1024, seed=1), build_layer(70_000, seed=2)
    push(build_image([kept]), ends.source.host, "dry/app", "0")
    ends.replicate("dry/app:0", "dry/app:0")
    push(build_image([kept, new]), ends.source.host, "dry/app", "1")

    promised = ends.replicate("dry/app:1", "dry/app:1", DryRun="true")["Data"]

    # the tag once, and each of the three blobs
    assert methods(ends.destination) == Counter(GET=1, HEAD=3)
    assert (promised["BlobsCopied"], promised["BlobsSkipped"]) == ("2", "1")
    real = ends.replicate("dry/app:1", "dry/app:1")["Data"]
    assert real["Changed"] == promised["Changed"] == "true"
    assert {**real, "DurationSeconds": ""} == {**promised, "DurationSeconds": ""}


@pytest.mark.parametrize("list_format", ["oci", "v2s2"])
def test_a_whole_index_arrives_byte_for_byte(
    ends: Ends, four_platforms: Any, tmp_path: Path, list_format: str
) -> None:
    image = f"index/{list_format}:1"
    push_by_skopeo(four_platforms, ends, image, "--format", list_format)

    answer = ends.replicate(image, image, CopyImageIndex="true")

    assert answer["Status"] == "SUCCESS", answer
    raw = skopeo_inspect_raw(ends.destination_reference(image))
    assert raw == skopeo_inspect_raw(ends.source_reference(image))
    assert answer["Data"]["Platforms"] == "linux/amd64,linux/arm64,linux/arm/v7,linux/s390x"
    found = read_back(ends, image, tmp_path, "--all")
    for child in json.loads(raw)["manifests"]:
        assert child["digest"].removeprefix("sha256:") in found


def test_one_platform_of_an_index_keeps_its_digest(ends: Ends, four_platforms: Any) -> None:
    push_by_skopeo(four_platforms, ends, "one/app:1")

    answer = ends.replicate("one/app:1", "one/app:arm", ImageArch=["arm64"])

    index = json.loads(skopeo_inspect_raw(ends.source_reference("one/app:1")))
    (child,) = [m for m in index["manifests"] if m["platform"]["architecture"] == "arm64"]
    assert answer["Data"]["ImageDigest"] == child["digest"]
    assert answer["Data"]["Digest.arm64"] == child["digest"]
    raw = skopeo_inspect_raw(ends.destination_reference("one/app:arm"))
    assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == child["digest"]


def test_an_artifact_arrives_byte_for_byte(ends: Ends) -> None:
    artifact = build_artifact(
        "application/vnd.example.chart", [("application/vnd.example.chart.v1.tar", b"chart" * 99)]
    )
    push(artifact, ends.source.host, "artifact/chart", "1")

    answer = ends.replicate("artifact/chart:1", "artifact/chart:1")

    assert answer["Status"] == "SUCCESS", answer
    assert skopeo_inspect_raw(ends.destination_reference("artifact/chart:1")) == artifact.manifest


def test_a_layer_that_stands_twice_moves_once(ends: Ends) -> None:
    layer = build_layer(64 * 1024, seed=77)
    push(build_image([layer, layer]), ends.source.host, "repeat/app", "1")

    answer = ends.replicate("repeat/app:1", "repeat/app:1")

    assert answer["Data"]["BlobsCopied"] == "2"
    assert methods(ends.source) == Counter(HEAD=1, GET=3)


def test_a_layer_that_may_not_be_distributed_is_left_where_it_is(ends: Ends) -> None:
    foreign = build_layer(1024, seed=78, urls=("https://example.com/layer",))
    image = build_image([foreign, build_layer(1024, seed=79)])
    push(image, ends.source.host, "foreign/app", "1")

    answer = ends.replicate("foreign/app:1", "foreign/app:1")

    assert answer["Status"] == "SUCCESS", answer
    assert answer["Data"]["BlobsCopied"] == "2"
    assert skopeo_inspect_raw(ends.destination_reference("foreign/app:1")) == image.manifest


def test_a_foreign_layer_without_urls_is_pushed_where_the_registry_requires_it(ends: Ends) -> None:
    own, base = build_layer(1024, seed=85), build_layer(1024, seed=86)
    for number, layer in enumerate((own, base)):
        push(build_image([layer]), ends.source.host, "foreign/base", str(number))
    image = build_image([own])
    document = json.loads(image.manifest)
    kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    document["layers"].append({"mediaType": kind, "digest": base.digest, "size": len(base.content)})
    manifest = json.dumps(document).encode()
    blobs = {**image.blobs, base.digest: base.content}
    content = dataclasses.replace(image, manifest=manifest, digest=digest_of(manifest), blobs=blobs)
    push(content, ends.source.host, "foreign/base", "all")

    answer = ends.replicate("foreign/base:all", "foreign/base:all")

    assert answer["Status"] == "SUCCESS", answer
    assert skopeo_inspect_raw(ends.destination_reference("foreign/base:all")) == manifest
    is_required = isinstance(ends.destination, DockerRegistry)
    assert answer["Data"]["BlobsCopied"] == ("3" if is_required else "2")


def test_blobs_are_mounted_inside_one_registry(ends: Ends) -> None:
    image = build_image([build_layer(64 * 1024, seed=seed) for seed in (81, 82)])
    push(image, ends.destination.host, "mount/from", "1")
    ends.destination.clear_requests()
    answer = ends.function.invoke(
        {
            "RequestType": "Create",
            "ResourceProperties": {
                "SrcImage": f"{ends.destination.host}/mount/from:1",
                "DestImage": f"{ends.destination.host}/mount/to:1",
                "DestTags": ["2", "3"],
            },
        }
    )

    assert answer["Data"]["BlobsMounted"] == "3"
    assert answer["Data"]["BytesCopied"] == "0"
    for tag in "123":
        raw = skopeo_inspect_raw(ends.destination_reference(f"mount/to:{tag}"))
        assert raw == image.manifest


def test_another_tag_of_the_same_repository_moves_no_blob(ends: Ends) -> None:
    push(build_image([build_layer(1024, seed=83)]), ends.destination.host, "retag/app", "1")
    ends.destination.clear_requests()

    answer = ends.function.invoke(
        {
            "RequestType": "Create",
            "ResourceProperties": {
                "SrcImage": f"{ends.destination.host}/retag/app:1",
                "DestImage": f"{ends.destination.host}/retag/app:2",
            },
        }
    )

    assert answer["Status"] == "SUCCESS", answer
    # both tags asked for, the manifest read and put; and the config, to tell the platform
    assert methods(ends.destination) == Counter(HEAD=1, GET=3, PUT=1)


def test_a_failure_leaves_every_tag_as_it_was(ends: Ends, four_platforms: Any) -> None:
    old = build_image([build_layer(1024, seed=90)])
    push(old, ends.destination.host, "failing/app", "1")
    push_by_skopeo(four_platforms, ends, "failing/app:1")

    answer = ends.replicate("failing/app:1", "failing/app:1", ImageArch=["riscv64"])

    assert answer["Status"] == "FAILED"
    assert "linux/riscv64" in answer["Reason"]
    assert "linux/s390x" in answer["Reason"]
    assert skopeo_inspect_raw(ends.destination_reference("failing/app:1")) == old.manifest


def test_no_such_image_is_one_sentence(ends: Ends) -> None:
    answer = ends.replicate("no/such:1", "no/such:1")

    assert answer["Status"] == "FAILED"
    assert f"{ends.source.host}/no/such:1" in answer["Reason"]
    assert "MANIFEST_UNKNOWN" in answer["Reason"] or "NAME_UNKNOWN" in answer["Reason"]
    assert answer["PhysicalResourceId"] == "not-created/Image/request"
