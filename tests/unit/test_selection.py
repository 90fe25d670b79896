from __future__ import annotations

import pytest
from tests.unit.builders import image, index

from replicator.errors import PlatformNotFoundError
from replicator.manifests import ImageIndex
from replicator.platforms import Platform
from replicator.selection import choose_child

NAMES = ("linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/riscv64/rva20")
IMAGES = [image([name.encode()]) for name in NAMES]


def _index(names: tuple[str, ...] = NAMES) -> ImageIndex:
    platforms = {each.digest: name for each, name in zip(IMAGES, NAMES, strict=True)}
    return index([each for each in IMAGES if platforms[each.digest] in names], platforms)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("amd64", "linux/amd64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/riscv64", "linux/riscv64/rva20"),
    ],
)
def test_the_image_of_a_platform_is_found(wanted: str, chosen: str) -> None:
    child = choose_child(_index(), Platform.parse(wanted), "a:1")
    assert child.digest == IMAGES[NAMES.index(chosen)].digest


@pytest.mark.parametrize(
    "wanted", ["linux/s390x", "windows/amd64", "linux/amd64/v3", "linux/arm/v5"]
)
def test_a_platform_that_is_not_there_is_an_error_that_lists_what_is(wanted: str) -> None:
    with pytest.raises(PlatformNotFoundError) as caught:
        choose_child(_index(NAMES[:2]), Platform.parse(wanted), "quay.io/a:1")
    assert str(caught.value) == (
        f"quay.io/a:1 has no image for {wanted}; it has linux/amd64, linux/arm/v6"
    )


def test_attestations_and_children_without_platform_are_no_platforms() -> None:
    plain, attestation = image([b"1"]), image([b"2"])
    listed = index([plain, attestation], {attestation.digest: "unknown/unknown"})
    with pytest.raises(PlatformNotFoundError, match="it has no platforms at all"):
        choose_child(listed, Platform("linux", "amd64"), "a:1")


def test_the_first_of_several_that_fit_is_taken() -> None:
    first, second = image([b"1"]), image([b"2"])
    listed = index([first, second], {first.digest: "linux/amd64", second.digest: "linux/amd64"})
    assert choose_child(listed, Platform("linux", "amd64"), "a:1").digest == first.digest
