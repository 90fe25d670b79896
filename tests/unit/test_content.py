from __future__ import annotations

from typing import Any

import pytest
from tests.unit.builders import FakeSource, encoded, image, index

from replicator.caching import CachingSource, ContentCache
from replicator.content import ContentReader
from replicator.errors import InvalidManifestError, PlatformNotFoundError
from replicator.manifests import Manifest
from replicator.platforms import Platform
from replicator.request import parse_request

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
CONFIG = encoded({"os": "linux", "architecture": "arm64"})
FIRST, SECOND, ATTESTATION = image([b"1"]), image([b"2"], config=CONFIG), image([b"3"])
INDEX = index(
    [FIRST, SECOND, ATTESTATION],
    {
        FIRST.digest: "linux/amd64",
        SECOND.digest: "linux/arm64",
        ATTESTATION.digest: "unknown/unknown",
    },
)


def _reader(
    *manifests: Manifest, default: Platform | None = AMD64, **properties: Any
) -> tuple[ContentReader, FakeSource]:
    source = FakeSource([b"{}", CONFIG], manifests)
    request = parse_request({"SrcImage": "a:1", "DestImage": "b:1", **properties})
    caching = CachingSource(source, ContentCache())
    return ContentReader(request, caching, default_platform=default, streams=2), source


@pytest.mark.parametrize(
    ("default", "properties", "chosen"),
    [(AMD64, {}, FIRST), (ARM64, {}, SECOND), (AMD64, {"ImageArch": "arm64"}, SECOND)],
)
def test_one_platform_of_an_index_is_its_own_image(
    default: Platform, properties: dict[str, str], chosen: Manifest
) -> None:
    reader, source = _reader(INDEX, FIRST, SECOND, default=default, **properties)
    content = reader.read(INDEX.digest)
    assert (content.root, content.children) == (chosen, {})
    assert [digest for _, digest in content.platforms] == [chosen.digest]
    assert source.fetched == [INDEX.digest, chosen.digest]


@pytest.mark.parametrize(
    ("default", "properties"), [(AMD64, {"CopyImageIndex": "true"}), (None, {})]
)
def test_a_whole_index_is_taken_with_everything_below_it(
    default: Platform | None, properties: dict[str, str]
) -> None:
    reader, source = _reader(INDEX, FIRST, SECOND, ATTESTATION, default=default, **properties)
    content = reader.read(INDEX.digest)
    assert content.root == INDEX
    assert content.children == {each.digest: each for each in (FIRST, SECOND, ATTESTATION)}
    assert content.platforms == ((AMD64, FIRST.digest), (ARM64, SECOND.digest))
    assert reader.platforms_of(content) == content.platforms
    assert len(source.fetched) == 4


def test_nested_indexes_are_read_and_a_shared_child_once() -> None:
    inner = index([FIRST])
    outer = index([inner, FIRST])
    reader, source = _reader(outer, inner, FIRST, default=None)
    assert reader.read(outer.digest).children == {inner.digest: inner, FIRST.digest: FIRST}
    assert len(source.fetched) == 3


def test_an_index_that_nests_too_deeply_is_refused() -> None:
    manifests: list[Manifest] = [FIRST]
    for _ in range(6):
        manifests.insert(0, index([manifests[0]]))
    reader, _ = _reader(*manifests, default=None)
    with pytest.raises(InvalidManifestError, match="nests deeper than 4"):
        reader.read(manifests[0].digest)


def test_a_single_image_is_taken_whatever_the_default_platform() -> None:
    reader, source = _reader(SECOND)
    content = reader.read(SECOND.digest)
    assert (content.root, content.platforms) == (SECOND, ())
    assert source.opened == []
    assert reader.platforms_of(content) == ((ARM64, SECOND.digest),)


def test_a_single_image_of_another_platform_than_asked_for_is_refused() -> None:
    reader, _ = _reader(SECOND, ImageArch="amd64")
    with pytest.raises(
        PlatformNotFoundError,
        match="no image for linux/amd64; it is a single image for linux/arm64",
    ):
        reader.read(SECOND.digest)
    reader, _ = _reader(SECOND, ImageArch="arm64")
    assert reader.read(SECOND.digest).platforms == ((ARM64, SECOND.digest),)


@pytest.mark.parametrize(
    ("manifest", "default", "properties", "expected"),
    [
        (FIRST, AMD64, {}, True),
        (FIRST, AMD64, {"ImageArch": "amd64"}, False),
        (INDEX, AMD64, {}, False),
        (INDEX, None, {}, True),
        (INDEX, AMD64, {"Platforms": "all"}, True),
        (INDEX, None, {"ImageArch": "amd64"}, False),
    ],
)
def test_only_what_leaves_no_choice_is_taken_as_it_is(
    manifest: Manifest, default: Platform | None, properties: dict[str, str], expected: bool
) -> None:
    reader, _ = _reader(manifest, default=default, **properties)
    assert reader.takes_as_is(manifest) is expected
