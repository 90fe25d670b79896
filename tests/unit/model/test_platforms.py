from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.model.platforms import Platform


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/arm64", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("armhf", "linux/arm/v7"),
        ("armel", "linux/arm/v6"),
        ("linux/armhf/v8", "linux/arm/v8"),
        ("i386", "linux/386"),
        ("Linux/ARM64", "linux/arm64"),
        ("macos/arm64", "darwin/arm64"),
        ("windows/amd64", "windows/amd64"),
        (" linux/amd64 ", "linux/amd64"),
    ],
)
def test_a_platform_is_normalized(text: str, normal: str) -> None:
    assert str(Platform.parse(text)) == normal


def test_an_image_without_an_operating_system_is_for_linux() -> None:
    assert Platform.of("", "amd64") == Platform.parse("linux/amd64")


@pytest.mark.parametrize(
    "text", ["", "/", "linux/", "/amd64", "linux//v8", "a/b/c/d", "linux/a b", "linux/ä", "a,b"]
)
def test_a_malformed_platform_is_rejected(text: str) -> None:
    with pytest.raises(RequestError, match="invalid platform "):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("text", "label"),
    [("arm64", "arm64"), ("arm64/v8", "arm64"), ("linux/arm/v7", "armv7"), ("amd64", "amd64")],
)
def test_the_label_of_a_platform_has_no_slashes(text: str, label: str) -> None:
    platform = Platform.parse(text if text.startswith("linux/") else f"linux/{text}")
    assert platform.label == label


_NAMES = st.sampled_from(
    [
        "linux",
        "macos",
        "Windows",
        "arm",
        "ARM64",
        "aarch64",
        "armhf",
        "amd64",
        "x86_64",
        "i386",
        "v1",
        "v7",
        "v8",
        "8",
        "7",
        "1",
        "",
        " ",
    ]
)


@given(st.one_of(st.text(max_size=30), st.lists(_NAMES, max_size=4).map("/".join)))
def test_arbitrary_text_is_a_platform_that_round_trips_or_rejected(text: str) -> None:
    try:
        platform = Platform.parse(text)
    except RequestError:
        return
    assert Platform.parse(str(platform)) == platform


@given(st.text(max_size=9), st.text(max_size=9), st.text(max_size=9))
def test_normalization_of_any_platform_is_idempotent(
    os: str, architecture: str, variant: str
) -> None:
    platform = Platform.of(os, architecture, variant)
    again = Platform.of(platform.os, platform.architecture, platform.variant)
    assert again == platform
