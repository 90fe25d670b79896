"""Platform selection from an index: the copied digests as skopeo reads them."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from local.images import (
    Content,
    Format,
    Image,
    build_artifact,
    build_image,
    build_index,
    build_layer,
    push,
)
from tests.interop.conftest import RegistryPair
from tests.interop.registries import skopeo_copy, skopeo_inspect_raw
from tests.programs import find_program

LISTS = {
    "oci": "application/vnd.oci.image.index.v1+json",
    "docker": "application/vnd.docker.distribution.manifest.list.v2+json",
}
PLATFORMS: tuple[dict[str, Any], ...] = (
    {"os": "linux", "architecture": "amd64"},
    {"os": "linux", "architecture": "amd64", "variant": "v3"},
    {"os": "linux", "architecture": "arm", "variant": "v6"},
    {"os": "linux", "architecture": "arm", "variant": "v7"},
    {"os": "linux", "architecture": "arm64", "variant": "v8"},
    {"os": "windows", "architecture": "amd64", "os.version": "10.0.17763.5329"},
    {
        "os": "windows",
        "architecture": "amd64",
        "os.version": "10.0.20348.2227",
        "os.features": ["win32k"],
    },
)
NESTED = ("linux/s390x", "linux/riscv64")


@dataclasses.dataclass(frozen=True, slots=True)
class SourceIndex:
    """An index at the source with its entries and those of its nested index."""

    repository: str
    entries: list[dict[str, Any]]
    inner: list[dict[str, Any]]

    def digests(self, *positions: int | str) -> list[str]:
        """Return digests by position in the index, or by architecture in the nested index."""
        nested = {each["platform"]["architecture"]: each["digest"] for each in self.inner}
        return [
            nested[each] if isinstance(each, str) else self.entries[each]["digest"]
            for each in positions
        ]


def put_index(host: str, repository: str, tag: str, document: dict[str, Any]) -> None:
    """Push an index document unchanged. Its children must exist."""
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request(
            "PUT",
            f"/v2/{repository}/manifests/{tag}",
            json.dumps(document).encode(),
            {"Content-Type": document["mediaType"]},
        )
        response = connection.getresponse()
        body = response.read()
        assert response.status == 201, body
    finally:
        connection.close()


def push_source_index(pair: RegistryPair, kind: Format) -> SourceIndex:
    """Push an index with every kind of entry. Only OCI indexes have attestations."""
    repository = f"platforms/{kind}"
    shared = build_layer(3000, seed=70)
    images: list[Content] = [
        build_image(
            [shared, build_layer(1000, seed=71 + number)],
            "/".join(filter(None, (each["os"], each["architecture"], each.get("variant")))),
            kind,
        )
        for number, each in enumerate(PLATFORMS)
    ]
    entries = [
        {**descriptor_of(image), "platform": platform}
        for image, platform in zip(images, PLATFORMS, strict=True)
    ]
    # the index lists the image of arm/v6 again as arm/v5
    entries.append({**entries[2], "platform": {**PLATFORMS[2], "variant": "v5"}})
    nested = build_index([build_image([shared], each, kind) for each in NESTED], kind)
    entries.append(descriptor_of(nested))
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": LISTS[kind],
        "manifests": entries,
    }
    if kind == "oci":
        document["annotations"] = {"org.opencontainers.image.version": "1.0"}
        for position in (0, 4):
            attestation = attestation_of(entries[position]["digest"])
            images.append(attestation)
            entries.append(
                {
                    **descriptor_of(attestation),
                    "platform": {"os": "unknown", "architecture": "unknown"},
                    "annotations": {
                        "vnd.docker.reference.type": "attestation-manifest",
                        "vnd.docker.reference.digest": entries[position]["digest"],
                    },
                }
            )
    for content in (*images, nested):
        push(content, pair.source.host, repository)
    put_index(pair.source.host, repository, "1", document)
    return SourceIndex(repository, entries, json.loads(nested.manifest)["manifests"])


def descriptor_of(content: Content) -> dict[str, Any]:
    return {
        "mediaType": content.media_type,
        "digest": content.digest,
        "size": len(content.manifest),
    }


def attestation_of(digest: str) -> Image:
    """Return an attestation manifest like BuildKit's, whose config has an unknown platform."""
    statement = json.dumps({"subject": [{"digest": digest}]}).encode()
    return build_artifact(
        "",
        [("application/vnd.in-toto+json", statement)],
        config=(
            "application/vnd.oci.image.config.v1+json",
            b'{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":[]}}',
        ),
    )


def digest_of(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def assert_complete(pair: RegistryPair, repository: str, digest: str, tmp_path: Path) -> None:
    """Read a manifest and its descendants with skopeo, which verifies every digest."""
    raw = skopeo_inspect_raw(pair.destination_reference(f"{repository}@{digest}"))
    assert digest_of(raw) == digest
    manifests = [each["digest"] for each in json.loads(raw).get("manifests", [])]
    for child in manifests:
        assert_complete(pair, repository, child, tmp_path)
    if not manifests:
        directory = tmp_path / digest.replace(":", "-")
        skopeo_copy(pair.destination_reference(f"{repository}@{digest}"), f"dir:{directory}")


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_one_platform_copies_the_manifest_of_its_image(
    pair: RegistryPair, tmp_path: Path, kind: Format
) -> None:
    listed = push_source_index(pair, kind)
    chosen: dict[str, int | str] = {
        "linux/amd64": 0,
        "x86_64": 0,
        "linux/amd64/v2": 0,
        "linux/amd64/v4": 1,
        "linux/arm/v6": 2,
        "linux/arm": 3,
        "linux/arm/v8": 3,
        "linux/arm/v5": 7,
        "linux/arm64": 4,
        "linux/aarch64/v9": 4,
        "windows/amd64": 5,
        "windows(10.0.17763)/amd64": 5,
        "windows(10.0.20348)/amd64": 6,
        "windows(+win32k)/amd64": 6,
        "linux/s390x": "s390x",
        "linux/riscv64": "riscv64",
    }
    for platform, position in chosen.items():
        response = pair.replicate(
            f"{listed.repository}:1", f"{listed.repository}:one", Platforms=[platform]
        )
        assert response["Status"] == "SUCCESS", (platform, response)
        (digest,) = listed.digests(position)
        raw = skopeo_inspect_raw(pair.destination_reference(f"{listed.repository}:one"))
        assert (platform, digest_of(raw)) == (platform, digest)
        assert response["Data"]["ImageDigest"] == digest
    for digest in {*listed.digests(*chosen.values())}:
        assert_complete(pair, listed.repository, digest, tmp_path)


@pytest.mark.parametrize("kind", ["oci", "docker"])
@pytest.mark.parametrize(
    ("platforms", "positions", "attestations"),
    [
        ("linux/arm64,linux/amd64", (0, 4), (9, 10)),
        ("linux/arm64,windows(10.0.20348)/amd64", (4, 6), (10,)),
        ("linux/arm/v7,linux/arm/v5,linux/arm/v6", (2, 3, 7), ()),
        ("linux/riscv64,linux/amd64/v3", (1, "riscv64"), ()),
    ],
)
def test_several_platforms_create_a_smaller_index(
    pair: RegistryPair,
    tmp_path: Path,
    kind: Format,
    platforms: str,
    positions: tuple[int | str, ...],
    attestations: tuple[int, ...],
) -> None:
    listed = push_source_index(pair, kind)
    source, destination = f"{listed.repository}:1", f"{listed.repository}:several"

    response = pair.replicate(source, destination, Platforms=platforms)

    assert response["Status"] == "SUCCESS", response
    raw = skopeo_inspect_raw(pair.destination_reference(destination))
    index = json.loads(raw)
    kept = (*positions, *(attestations if kind == "oci" else ()))
    assert [each["digest"] for each in index["manifests"]] == listed.digests(*kept)
    every = [*listed.entries, *listed.inner]
    assert all(each in every for each in index["manifests"])
    assert index["mediaType"] == LISTS[kind]
    assert response["Data"]["ImageDigest"] == digest_of(raw)
    assert response["Data"]["MediaType"] == LISTS[kind]
    noted = {
        "org.opencontainers.image.version": "1.0",
        "ecr-image-replicator.source": f"{pair.source.host}/{listed.repository}@"
        + digest_of(skopeo_inspect_raw(pair.source_reference(source))),
    }
    assert index.get("annotations", {}) == (noted if kind == "oci" else {})
    assert_complete(pair, listed.repository, digest_of(raw), tmp_path)

    again = pair.replicate(source, destination, Platforms=platforms.split(",")[::-1])

    assert again["Data"]["Changed"] == "false"
    assert again["PhysicalResourceId"] == response["PhysicalResourceId"]
    assert {each.method for each in pair.destination.requests} == {"GET"}


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_all_platforms_copy_the_index_unchanged(
    pair: RegistryPair, tmp_path: Path, kind: Format
) -> None:
    listed = push_source_index(pair, kind)
    image = f"{listed.repository}:1"

    response = pair.replicate(image, image, Platforms="all")

    raw = skopeo_inspect_raw(pair.destination_reference(image))
    assert raw == skopeo_inspect_raw(pair.source_reference(image))
    assert response["Data"]["ImageDigest"] == digest_of(raw)
    assert response["Data"]["Platforms"] == (
        "linux/amd64,linux/amd64/v3,linux/arm/v6,linux/arm/v7,linux/arm64,windows/amd64,"
        "linux/arm/v5,linux/s390x,linux/riscv64"
    )
    assert response["Data"]["Digest.amd64"] == listed.entries[0]["digest"]
    assert response["Data"]["Digest.riscv64"] == listed.inner[1]["digest"]
    assert_complete(pair, listed.repository, digest_of(raw), tmp_path)
    again = pair.replicate(image, image, Platforms="all")
    assert again["Data"]["Changed"] == "false"
    assert again["Data"]["Platforms"] == response["Data"]["Platforms"]


def test_arch_image_tags_are_pushed_in_one_run(pair: RegistryPair, tmp_path: Path) -> None:
    listed = push_source_index(pair, "oci")
    image = f"{listed.repository}:tags"
    tags = {"amd64": "v1-amd64", "arm64": "v1-arm64", "linux/riscv64": "v1-riscv64"}
    properties: dict[str, Any] = {"Platforms": "all", "ArchImageTags": json.dumps(tags)}

    response = pair.replicate(f"{listed.repository}:1", image, **properties)

    assert response["Status"] == "SUCCESS", response
    # the tag is resolved once, all other reads are by digest
    assert [each.method for each in pair.source.requests if each.path.endswith("/1")] == ["HEAD"]
    puts = [each.path for each in pair.destination.requests if each.method == "PUT"]
    assert {each.rpartition("/")[2] for each in puts[-4:]} == {"tags", *tags.values()}
    wanted = dict(zip(tags.values(), listed.digests(0, 4, "riscv64"), strict=True))
    for tag, digest in wanted.items():
        raw = skopeo_inspect_raw(pair.destination_reference(f"{listed.repository}:{tag}"))
        assert digest_of(raw) == digest
        assert_complete(pair, listed.repository, digest, tmp_path)

    again = pair.replicate(f"{listed.repository}:1", image, **properties)
    assert again["Data"]["Changed"] == "false"
    assert {each.method for each in pair.destination.requests} == {"GET", "HEAD"}

    put_other = {**tags, "amd64": "v2-amd64"}
    response = pair.replicate(
        f"{listed.repository}:1", image, Platforms="all", ArchImageTags=put_other
    )
    assert response["Data"]["Changed"] == "true"
    puts = [each.path for each in pair.destination.requests if each.method == "PUT"]
    assert [each.rpartition("/")[2] for each in puts] == ["v2-amd64"]


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"Platforms": "plan9/amd64"}, "platform plan9/amd64 not found in"),
        ({"Platforms": "plan9/amd64"}, "Choose one of them in Platforms."),
        ({"ImageArch": "mips64"}, "Choose one of them in ImageArch."),
        ({"Platforms": "linux/amd64,plan9/amd64"}, "windows(10.0.20348.2227+win32k)/amd64"),
        (
            {"ImageArch": "amd64", "ArchImageTags": {"amd64": "a", "arm64": "b"}},
            "platform linux/arm64 of ArchImageTags not found in the content",
        ),
    ],
)
def test_a_missing_platform_fails_without_pushing(
    pair: RegistryPair, properties: dict[str, Any], message: str
) -> None:
    listed = push_source_index(pair, "oci")
    response = pair.replicate(f"{listed.repository}:1", "platforms/none:1", **properties)
    assert response["Status"] == "FAILED"
    assert message in response["Reason"]
    assert {each.method for each in pair.destination.requests} <= {"GET", "HEAD"}


def test_arch_image_tags_for_a_single_image_are_an_error(pair: RegistryPair) -> None:
    push(build_image([build_layer(100, seed=60)]), pair.source.host, "platforms/single", "1")
    response = pair.replicate(
        "platforms/single:1", "platforms/single:1", ArchImageTags={"amd64": "a"}
    )
    assert response["Status"] == "FAILED"
    assert "is a single image, not an index" in response["Reason"]


def _umoci(*arguments: str) -> None:
    subprocess.run([find_program("umoci"), *arguments], check=True, capture_output=True)


@pytest.mark.parametrize(("kind", "image_format"), [("oci", "oci"), ("docker", "v2s2")])
def test_platforms_are_selected_from_an_index_of_umoci(
    pair: RegistryPair, tmp_path: Path, kind: str, image_format: str
) -> None:
    layout, repository = tmp_path / "layout", f"umoci/{kind}"
    _umoci("init", "--layout", str(layout))
    entries = []
    for architecture in ("amd64", "arm64", "s390x"):
        image = f"{layout}:{architecture}"
        _umoci("new", "--image", image)
        _umoci("config", "--image", image, "--os", "linux", "--architecture", architecture)
        file = tmp_path / architecture
        file.write_bytes(architecture.encode() * 999)
        _umoci("insert", "--image", image, str(file), "/file")
        target = pair.source_reference(f"{repository}:{architecture}")
        skopeo_copy(f"oci:{image}", target, "--format", image_format)
        raw = skopeo_inspect_raw(target)
        entries.append(
            {
                "mediaType": json.loads(raw).get(
                    "mediaType", "application/vnd.oci.image.manifest.v1+json"
                ),
                "digest": digest_of(raw),
                "size": len(raw),
                "platform": {"os": "linux", "architecture": architecture},
            }
        )
    document = {"schemaVersion": 2, "mediaType": LISTS[kind], "manifests": entries}
    put_index(pair.source.host, repository, "1", document)

    one = pair.replicate(f"{repository}:1", f"{repository}:one", ImageArch="s390x")
    two = pair.replicate(f"{repository}:1", f"{repository}:two", Platforms="amd64,s390x")

    assert one["Data"]["ImageDigest"] == entries[2]["digest"]
    assert_complete(pair, repository, one["Data"]["ImageDigest"], tmp_path)
    raw = skopeo_inspect_raw(pair.destination_reference(f"{repository}:two"))
    assert json.loads(raw)["manifests"] == [entries[0], entries[2]]
    assert two["Data"]["Digest.s390x"] == entries[2]["digest"]
    skopeo_copy(pair.destination_reference(f"{repository}:two"), f"dir:{tmp_path / 'two'}", "--all")
