from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.builders import encoded, image, index, index_document

from ecr_image_replicator.copy.selection import (
    Entry,
    choose_entry,
    describe_platform,
    find_platform,
    list_entries,
    nested_indexes,
    with_artifacts,
)
from ecr_image_replicator.errors import PlatformNotFoundError
from ecr_image_replicator.model.manifests import ImageIndex, Manifest, parse_manifest
from ecr_image_replicator.model.platforms import Platform

NAMES = ("linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/riscv64/rva20")
IMAGES = [image([name.encode()]) for name in NAMES]
SERVER_2019 = Platform("windows", "amd64", "", "10.0.17763.5329")
SERVER_2022 = Platform("windows", "amd64", "", "10.0.20348.2227", ("win32k",))


def _index(names: tuple[str, ...] = NAMES) -> ImageIndex:
    platforms = {each.digest: name for each, name in zip(IMAGES, NAMES, strict=True)}
    return index([each for each in IMAGES if platforms[each.digest] in names], platforms)


def _entries(listed: ImageIndex) -> tuple[Entry, ...]:
    return list_entries(listed, {})


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("amd64", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/arm/v8", "linux/arm/v7"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/arm64/v9.2", "linux/arm64/v8"),
        ("linux/riscv64", "linux/riscv64/rva20"),
    ],
)
def test_the_image_of_a_platform_is_found(wanted: str, chosen: str) -> None:
    child = choose_entry(_entries(_index()), Platform.parse(wanted), "a:1")
    assert child.descriptor.digest == IMAGES[NAMES.index(chosen)].digest


@pytest.mark.parametrize(
    "wanted",
    ["linux/s390x", "windows/amd64", "linux/386", "linux/arm/v5", "windows(10.0.17763)/amd64"],
)
def test_the_error_for_a_missing_platform_lists_the_available_platforms(wanted: str) -> None:
    with pytest.raises(PlatformNotFoundError) as caught:
        choose_entry(_entries(_index(NAMES[:2])), Platform.parse(wanted), "quay.io/a:1")
    assert str(caught.value) == (
        f"platform {wanted} not found in quay.io/a:1: it has linux/amd64, linux/arm/v6. "
        "Choose one of them in platforms."
    )


def test_a_long_platform_is_cut_in_messages() -> None:
    assert describe_platform(Platform("linux", "a" * 5000)) == f"linux/{'a' * 71}..."


def test_attestations_and_children_without_platform_are_not_selectable() -> None:
    plain, attestation = image([b"1"]), image([b"2"])
    listed = index([plain, attestation], {attestation.digest: "unknown/unknown"})
    with pytest.raises(PlatformNotFoundError, match=r"it has none\. Copy the whole index with "):
        choose_entry(_entries(listed), Platform("linux", "amd64"), "a:1")


def test_the_first_of_several_matching_images_is_selected() -> None:
    first, second = image([b"1"]), image([b"2"])
    listed = index([first, second], {first.digest: "linux/amd64", second.digest: "linux/amd64"})
    chosen = choose_entry(_entries(listed), Platform("linux", "amd64"), "a:1")
    assert chosen.descriptor.digest == first.digest


@pytest.mark.parametrize(
    ("wanted", "offered", "best"),
    [
        # the best compatible variant at any position
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1),
        ("linux/arm/v7", ["linux/arm/v8"], None),
        ("linux/arm/v6", ["linux/arm"], None),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], 1),
        ("linux/amd64", ["linux/amd64/v2", "linux/amd64/v1"], 1),
        ("linux/amd64", ["linux/386"], None),
        ("linux/arm64", ["linux/arm/v7"], None),
        ("linux/arm64", ["linux/arm64/v8.1"], None),
        ("linux/arm64/v8.4", ["linux/arm64", "linux/arm64/v8.2", "linux/arm64/v8.5"], 1),
        ("linux/arm64/v9", ["linux/arm64/v8", "linux/arm64/v8.5", "linux/arm64/v8.6"], 1),
        ("linux/arm64/v9.1", ["linux/arm64/v8.6", "linux/arm64/v9", "linux/arm64/v9.2"], 1),
        ("linux/arm64/v9.7", ["linux/arm64/v8.9"], 0),
        # unordered variants: the same one, else none, else any if none was requested
        ("linux/riscv64/rva22", ["linux/riscv64/rva20"], None),
        ("linux/riscv64/rva22", ["linux/riscv64/rva20", "linux/riscv64"], 1),
        ("linux/riscv64", ["linux/riscv64/rva20", "linux/riscv64"], 1),
        ("linux/riscv64", ["linux/riscv64/rva20", "linux/riscv64/rva22"], 0),
        ("linux/arm/strong", ["linux/arm/v7"], None),
    ],
)
def test_an_older_compatible_variant_replaces_a_missing_variant(
    wanted: str, offered: list[str], best: int | None
) -> None:
    assert find_platform([*map(Platform.parse, offered)], Platform.parse(wanted)) == best


@pytest.mark.parametrize(
    ("wanted", "best"),
    [
        ("windows/amd64", 0),
        ("windows(10.0.20348)/amd64", 1),
        ("windows(10.0.20348.2227)/amd64", 1),
        ("windows(10.0.2034)/amd64", None),
        ("windows(10.0.17763+win32k)/amd64", None),
        ("windows(+win32k)/amd64", 1),
        ("windows(10.0.20348+win32k)/amd64", 1),
        ("windows(10.0.20348+win32k+other)/amd64", None),
    ],
)
def test_windows_images_are_selected_by_version_and_features(wanted: str, best: int | None) -> None:
    assert find_platform([SERVER_2019, SERVER_2022], Platform.parse(wanted)) == best


def test_the_error_lists_windows_versions_in_request_syntax() -> None:
    first = image([b"1"])
    listed = index([first])
    entries = [
        Entry(listed.manifests[0], platform, listed, 0) for platform in (SERVER_2019, SERVER_2022)
    ]
    with pytest.raises(PlatformNotFoundError) as caught:
        choose_entry(entries, Platform("linux", "amd64"), "a:1")
    assert str(caught.value.message[0]).endswith(
        "it has windows(10.0.17763.5329)/amd64, windows(10.0.20348.2227+win32k)/amd64"
    )
    for platform in (SERVER_2019, SERVER_2022):
        assert Platform.parse(platform.full_name) == platform


def test_the_error_lists_a_limited_number_of_platforms_on_one_line() -> None:
    first = image([b"1"])
    listed = index([first])
    offered = [Platform("linux", "a\nb" * 1000), *(Platform(f"os{n}", "amd64") for n in range(999))]
    entries = [Entry(listed.manifests[0], platform, listed, 0) for platform in offered]
    with pytest.raises(PlatformNotFoundError) as caught:
        choose_entry(entries, Platform("linux", "amd64"), "a:1")
    assert "os21/amd64, os22/amd64 and 976 more. " in str(caught.value)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def test_entries_of_nested_indexes_are_listed_in_order() -> None:
    one, two, three = (image([bytes([n])]) for n in range(3))
    inner = index([two, one], {two.digest: "linux/arm64"})
    outer = index([one, inner, three], {one.digest: "linux/amd64", inner.digest: "linux/s390x"})
    assert [each.digest for each in nested_indexes(outer)] == [inner.digest]
    entries = list_entries(outer, {inner.digest: inner})
    assert [(each.descriptor.digest, str(each.platform)) for each in entries] == [
        (one.digest, "linux/amd64"),
        (two.digest, "linux/arm64"),
        (one.digest, "linux/s390x"),  # an attestation of the index that contains it
        (three.digest, "None"),
    ]


def test_attestations_are_copied_with_their_image() -> None:
    images: list[Manifest] = [image([b"1"]), image([b"2"])]
    attestations = [image([b"3"]), image([b"4"])]
    notes = [
        {},
        {},
        *(
            {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": str(described.digest),
            }
            for described in images
        ),
    ]
    listed = _annotated([*images, *attestations], notes)
    entries = _entries(listed)
    kept = with_artifacts(entries, [entries[1]])
    assert [each.descriptor.digest for each in kept] == [images[1].digest, attestations[1].digest]


def test_a_child_with_another_reference_type_is_not_copied() -> None:
    described = image([b"1"])
    other = _annotated(
        [described, image([b"2"])],
        [
            {},
            {
                "vnd.docker.reference.type": "something-else",
                "vnd.docker.reference.digest": str(described.digest),
            },
        ],
    )
    entries = _entries(other)
    assert with_artifacts(entries, [entries[0]]) == entries[:1]


def test_a_soci_index_is_copied_with_its_image_and_never_selected() -> None:
    images: list[Manifest] = [image([b"1"]), image([b"2"])]
    indexes = [image([b"3"]), image([b"4"])]
    described = [{"com.amazon.soci.image-manifest-digest": str(each.digest)} for each in images]
    listed = _annotated([*indexes, *images], [*described, {}, {}])
    platforms = [Platform("linux", "amd64"), Platform("linux", "arm64")] * 2
    entries = tuple(
        dataclasses.replace(each, platform=platform)
        for each, platform in zip(_entries(listed), platforms, strict=True)
    )
    chosen = choose_entry(entries, Platform("linux", "arm64"), "quay.io/a:1")
    assert chosen.descriptor.digest == images[1].digest
    kept = with_artifacts(entries, [chosen])
    assert [each.descriptor.digest for each in kept] == [indexes[1].digest, images[1].digest]


def _annotated(manifests: list[Manifest], notes: list[dict[str, str]]) -> ImageIndex:
    document = index_document(manifests)
    for each, noted in zip(document["manifests"], notes, strict=True):
        if noted:
            each["annotations"] = noted
    parsed = parse_manifest(encoded(document))
    assert isinstance(parsed, ImageIndex)
    return parsed


_PLATFORMS = st.builds(
    Platform.of,
    st.sampled_from(["linux", "windows"]),
    st.sampled_from(["amd64", "arm", "arm64", "riscv64"]),
    st.sampled_from(["", "v1", "v2", "v5", "v6", "v7", "v8", "v8.2", "v9", "v9.1", "rva20"]),
    os_version=st.sampled_from(["", "10.0.1", "10.0.1.5"]),
)


@given(st.lists(_PLATFORMS, max_size=6), _PLATFORMS)
def test_an_existing_platform_is_always_found(offered: list[Platform], wanted: Platform) -> None:
    position = find_platform([*offered, wanted], wanted)
    assert position is not None
    chosen = [*offered, wanted][position]
    assert (chosen.os, chosen.architecture, chosen.variant) == (
        wanted.os,
        wanted.architecture,
        wanted.variant,
    )
