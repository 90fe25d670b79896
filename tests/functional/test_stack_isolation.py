"""Isolation of stacks that share a warm function."""

from __future__ import annotations

from collections.abc import Callable

from local.images import build_image, build_layer, push
from local.registry import RegistryServer
from local.registry.digests import digest_of
from tests.functional.conftest import Function

Start = Callable[..., RegistryServer]


def test_a_cached_config_is_not_used_for_another_source_registry(
    function: Function, registries: Start
) -> None:
    private, other, destination = registries(), registries(), registries()
    image = build_image([build_layer(900, seed=3)])
    config = digest_of(image.config)
    push(image, private.host, "private/app", "1")
    # the other repository refers to the config and does not have it
    push(image, other.host, "team/app", "1")
    other.store.delete_blob("team/app", config)

    first = function.create(f"{private.host}/private/app:1", f"{destination.host}/first:1")
    second = function.create(f"{other.host}/team/app:1", f"{destination.host}/second:1")

    assert first["Status"] == "SUCCESS", first
    assert second["Status"] == "FAILED", second
    assert config in second["Reason"]
    assert destination.store.find_blob("second", config) is None
