from __future__ import annotations

from typing import Any

import pytest
from tests.unit.builders import FakeSource, encoded, image, index
from tests.unit.thread_switches import switching_threads

from ecr_image_replicator.copy.cache import CachingSource, ContentCache
from ecr_image_replicator.copy.resolve import ContentReader
from ecr_image_replicator.errors import InvalidManifestError, PlatformNotFoundError, RequestError
from ecr_image_replicator.model.manifests import ImageIndex, Manifest
from ecr_image_replicator.model.platforms import Platform
from ecr_image_replicator.request.parsing import parse_request

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
NAMES = ("linux/amd64", "linux/arm64")
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
    request = parse_request({"SrcImage": "a:1", "DestImage": "a/b:1", **properties})
    caching = CachingSource(source, ContentCache(), "")
    defaults = (default,) if default else ()
    return ContentReader(request, caching, default_platforms=defaults, streams=2), source


@pytest.mark.parametrize(
    ("default", "properties", "chosen"),
    [(AMD64, {}, FIRST), (ARM64, {}, SECOND), (AMD64, {"ImageArch": "arm64"}, SECOND)],
)
def test_one_platform_of_an_index_is_copied_as_a_single_image(
    default: Platform, properties: dict[str, str], chosen: Manifest
) -> None:
    reader, source = _reader(INDEX, FIRST, SECOND, default=default, **properties)
    content = reader.read(INDEX.digest)
    assert (content.named, content.root) == (INDEX, chosen)
    assert [digest for _, digest in content.platforms] == [chosen.digest]
    assert source.fetched == [INDEX.digest, chosen.digest]


@pytest.mark.parametrize(
    ("default", "properties"), [(AMD64, {"CopyImageIndex": "true"}), (None, {})]
)
def test_a_complete_index_is_copied_unchanged(
    default: Platform | None, properties: dict[str, str]
) -> None:
    reader, source = _reader(INDEX, FIRST, SECOND, ATTESTATION, default=default, **properties)
    content = reader.read(INDEX.digest)
    assert content.root == INDEX
    assert content.platforms == ((AMD64, FIRST.digest), (ARM64, SECOND.digest))
    assert reader.platforms_of(content) == content.platforms
    assert source.fetched == [INDEX.digest]
    children = reader.read_children(content.root)
    assert children == {each.digest: each for each in (FIRST, SECOND, ATTESTATION)}
    assert len(source.fetched) == 4


def test_children_of_nested_indexes_are_read_once() -> None:
    inner = index([FIRST])
    outer = index([inner, FIRST])
    reader, source = _reader(outer, inner, FIRST, default=None)
    root = reader.read(outer.digest).root
    assert reader.read_children(root) == {inner.digest: inner, FIRST.digest: FIRST}
    assert len(source.fetched) == 3


def test_an_index_nested_too_deeply_is_rejected() -> None:
    manifests: list[Manifest] = [FIRST]
    for _ in range(6):
        manifests.insert(0, index([manifests[0]]))
    reader, _ = _reader(*manifests, default=None)
    with pytest.raises(InvalidManifestError, match="nests deeper than 4"):
        reader.read(manifests[0].digest)


def test_the_total_size_of_manifests_is_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = [image([str(number).encode()]) for number in range(200)]
    listed = index(images)
    reader, _ = _reader(listed, *images, default=None)
    limit = sum(len(each.content) for each in images)
    monkeypatch.setattr("ecr_image_replicator.copy.resolve._MAX_MANIFESTS_BYTES", limit)
    with switching_threads("fetch"):
        assert len(reader.read_children(listed)) == len(images)
    monkeypatch.setattr("ecr_image_replicator.copy.resolve._MAX_MANIFESTS_BYTES", limit - 1)
    with (
        switching_threads("fetch"),
        pytest.raises(InvalidManifestError, match=f"larger than {limit - 1} bytes together"),
    ):
        reader.read_children(listed)


def test_a_single_image_ignores_the_default_platform() -> None:
    reader, source = _reader(SECOND)
    content = reader.read(SECOND.digest)
    assert (content.root, content.platforms) == (SECOND, ())
    assert source.opened == []
    assert reader.platforms_of(content) == ((ARM64, SECOND.digest),)


def test_a_single_image_of_another_platform_than_requested_is_rejected() -> None:
    reader, _ = _reader(SECOND, ImageArch="amd64")
    with pytest.raises(
        PlatformNotFoundError,
        match="it is a single image for linux/arm64",
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
def test_content_without_a_platform_selection_is_accepted_unchanged(
    manifest: Manifest, default: Platform | None, properties: dict[str, str], expected: bool
) -> None:
    reader, _ = _reader(manifest, default=default, **properties)
    assert reader.takes_as_is(manifest) is expected


def test_several_platforms_create_an_index_of_their_images_and_attestations() -> None:
    third = image([b"4"])
    names = {each.digest: name for each, name in zip((FIRST, SECOND), NAMES, strict=True)}
    listed = index([FIRST, SECOND, third], {**names, third.digest: "linux/s390x"})
    reader, source = _reader(listed, FIRST, SECOND, third, Platforms="linux/arm64,linux/amd64")
    content = reader.read(listed.digest)
    assert isinstance(content.root, ImageIndex)
    # in the order of the source, not of the request
    assert [each.digest for each in content.root.manifests] == [FIRST.digest, SECOND.digest]
    assert content.platforms == ((AMD64, FIRST.digest), (ARM64, SECOND.digest))
    assert content.is_made
    assert source.fetched == [listed.digest]


def test_selecting_all_platforms_keeps_the_index() -> None:
    listed = index([FIRST, SECOND], {FIRST.digest: "linux/amd64", SECOND.digest: "linux/arm64/v8"})
    reader, _ = _reader(listed, Platforms=["amd64", "arm64"])
    content = reader.read(listed.digest)
    assert content.root is content.named
    assert not content.is_made


def test_a_missing_platform_among_several_is_an_error() -> None:
    reader, _ = _reader(INDEX, Platforms=["amd64", "arm64", "s390x"])
    with pytest.raises(
        PlatformNotFoundError,
        match="linux/s390x not found in",
    ):
        reader.read(INDEX.digest)


def test_a_platform_is_found_in_a_nested_index() -> None:
    inner = index([SECOND], {SECOND.digest: "linux/arm64"})
    outer = index([FIRST, inner], {FIRST.digest: "linux/amd64"})
    reader, source = _reader(outer, inner, SECOND, Platforms="linux/arm64")
    assert reader.read(outer.digest).root == SECOND
    assert source.fetched == [outer.digest, inner.digest, SECOND.digest]


def test_a_platform_is_found_in_the_config_if_the_index_has_none() -> None:
    listed = index([FIRST, SECOND], {FIRST.digest: "linux/amd64"})
    reader, source = _reader(listed, FIRST, SECOND, Platforms="linux/arm64")
    assert reader.read(listed.digest).platforms == ((ARM64, SECOND.digest),)
    assert source.opened == [SECOND.config.digest]
    # the index has the platforms of these images
    reader, source = _reader(listed, FIRST, SECOND, Platforms="linux/amd64")
    assert reader.read(listed.digest).root == FIRST
    assert source.opened == []


def test_platform_tags_apply_to_copied_platforms() -> None:
    reader, _ = _reader(INDEX, CopyImageIndex="true", ArchImageTags={"arm64": "a", "amd64": "b"})
    content = reader.read(INDEX.digest)
    assert reader.arch_digests(content) == {"a": SECOND.digest, "b": FIRST.digest}


def test_a_tag_of_a_platform_that_is_not_copied_is_an_error() -> None:
    reader, _ = _reader(INDEX, FIRST, ArchImageTags={"arm64": "a"})
    with pytest.raises(
        PlatformNotFoundError,
        match=r"platform linux/arm64 of architecture_tags not found in the content copied from "
        r".*: it has linux/amd64",
    ):
        reader.arch_digests(reader.read(INDEX.digest))


def test_platform_tags_for_a_single_image_are_an_error() -> None:
    reader, _ = _reader(FIRST, ArchImageTags={"amd64": "a"})
    with pytest.raises(RequestError, match=r"invalid architecture_tags: .* is a single image"):
        reader.arch_digests(reader.read(FIRST.digest))


@pytest.mark.parametrize(("wanted", "fits"), [("arm64/v9", True), ("arm64,amd64", False)])
def test_a_single_image_must_match_every_requested_platform(wanted: str, *, fits: bool) -> None:
    names = ",".join(f"linux/{each}" for each in wanted.split(","))
    reader, _ = _reader(SECOND, Platforms=names)
    if fits:
        assert reader.read(SECOND.digest).root == SECOND
    else:
        with pytest.raises(PlatformNotFoundError, match="platform linux/amd64 not found"):
            reader.read(SECOND.digest)


def test_an_unreadable_config_does_not_fail_a_finished_copy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader, source = _reader(SECOND)
    content = reader.read(SECOND.digest)
    source.content[SECOND.config.digest] = b"other bytes"
    assert reader.platforms_of(content) == ()
    assert "cannot read the platform of the image" in caplog.text
