from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.model.platforms import Platform
from ecr_image_replicator.request.settings import Settings


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()
    assert Settings().default_platforms == (Platform("linux", "amd64"),)


def test_every_variable_is_read() -> None:
    settings = Settings.from_environment(
        {
            "DEFAULT_PLATFORMS": " linux/arm64, arm ,",
            "PARALLEL_STREAMS": "3",
            "PLAIN_HTTP_REGISTRIES": "a.io, b.io:5000,,",
            "STALL_TIMEOUT_SECONDS": "12.5",
            "OTHER": "x",
        }
    )
    assert settings.default_platforms == (
        Platform("linux", "arm64"),
        Platform("linux", "arm", "v7"),
    )
    assert settings.streams == 3
    assert settings.plain_http == ("a.io", "b.io:5000")
    assert settings.stall_timeout_seconds == 12.5


def test_all_platforms_can_be_the_default() -> None:
    for name in ("all", "ALL"):
        assert Settings.from_environment({"DEFAULT_PLATFORMS": name}).default_platforms == ()


@pytest.mark.parametrize("value", ["all,arm64", "linux/a b", "linux/amd64,a/b/c/d"])
def test_the_error_for_invalid_default_platforms_names_the_variable(value: str) -> None:
    with pytest.raises(RequestError, match="DEFAULT_PLATFORMS"):
        Settings.from_environment({"DEFAULT_PLATFORMS": value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PARALLEL_STREAMS", "0"),
        ("PARALLEL_STREAMS", "65"),
        ("PARALLEL_STREAMS", "many"),
        ("PARALLEL_STREAMS", "nan"),
        ("STALL_TIMEOUT_SECONDS", "-1"),
        ("STALL_TIMEOUT_SECONDS", "inf"),
    ],
)
def test_the_error_for_a_number_out_of_bounds_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(RequestError, match=f"invalid {name}: '{value}'"):
        Settings.from_environment({name: value})


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "DEFAULT_PLATFORMS",
                "PARALLEL_STREAMS",
                "PLAIN_HTTP_REGISTRIES",
                "STALL_TIMEOUT_SECONDS",
            ]
        ),
        st.text() | st.floats().map(str) | st.integers().map(str),
    )
)
def test_arbitrary_environments_are_accepted_or_rejected(environment: dict[str, str]) -> None:
    try:
        settings = Settings.from_environment(environment)
    except RequestError:
        return
    assert 1 <= settings.streams <= 64
