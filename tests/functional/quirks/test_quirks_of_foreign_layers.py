"""Foreign layers: not copied, unless the destination requires them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pytest
from local.images import Image, Layer, build_image, build_index, build_layer, place
from local.registry import Quirks, RegistryServer
from tests.functional.conftest import Function
from tests.functional.quirks.replicating import Start, check_copy, replicate

REQUIRED = Quirks(requires_foreign_layers=True)
URLS = ("https://windows.example/layer",)
OWN = build_layer(900, seed=1)
BASE = build_layer(30_000, seed=2, urls=URLS)
OTHER = build_layer(20_000, seed=3, urls=URLS)


def _place(registry: RegistryServer, image: Image, layers: Sequence[Layer] = ()) -> None:
    """Put an image into a registry without a request, and these of its foreign layers."""
    place(image, registry.store, "team/app", "1")
    for layer in layers:
        registry.store.put_blob("team/app", layer.content)


def _uploads(registry: RegistryServer) -> list[str]:
    return [
        each.parameters["digest"]
        for each in registry.requests
        if each.method == "PUT" and "/blobs/uploads/" in each.path
    ]


@pytest.mark.parametrize("format_", ["oci", "docker"])
def test_a_foreign_layer_is_pushed_if_the_destination_requires_it(
    function: Function, registries: Start, format_: Any
) -> None:
    image = build_image([BASE, OWN], format=format_)
    source, destination = registries(), registries(quirks=REQUIRED)
    _place(source, image, [BASE])

    response = replicate(function, source, destination)

    check_copy(response, destination, image)
    assert response["Data"]["BlobsCopied"] == "3"
    # the manifest is pushed twice, and only the missing blob after the first push
    assert sorted(_uploads(destination)) == sorted([*image.blobs, BASE.digest])
    assert _manifest_puts(destination) == 2
    assert replicate(function, source, destination)["Data"]["Changed"] == "false"


def test_all_foreign_layers_of_a_manifest_are_pushed_together(
    function: Function, registries: Start
) -> None:
    image = build_image([BASE, OTHER, OWN])
    source, destination = registries(), registries(quirks=REQUIRED)
    _place(source, image, [BASE, OTHER])

    check_copy(replicate(function, source, destination), destination, image)
    assert _manifest_puts(destination) == 2


def test_a_foreign_layer_is_never_read_from_its_urls(function: Function, registries: Start) -> None:
    elsewhere = registries()
    elsewhere.store.put_blob("base", BASE.content)
    url = f"{elsewhere.url}/v2/base/blobs/{BASE.digest}"
    image = build_image([dataclasses.replace(BASE, urls=(url,)), OWN])
    source, destination = registries(), registries(quirks=REQUIRED)
    _place(source, image)

    response = replicate(function, source, destination)

    assert response["Status"] == "FAILED"
    assert f"missing foreign layer {BASE.digest}" in response["Reason"]
    assert "the destination requires it, and the source does not have it" in response["Reason"]
    assert elsewhere.host not in json.dumps(response)
    assert elsewhere.requests == ()
    assert destination.store.open_uploads == ()
    assert destination.store.tags("mirror/app") == {}


def test_a_foreign_layer_is_not_copied_if_the_destination_does_not_require_it(
    function: Function, registries: Start
) -> None:
    image = build_image([BASE, OWN])
    source, destination = registries(), registries()
    _place(source, image, [BASE])

    check_copy(replicate(function, source, destination), destination, image)
    assert sorted(_uploads(destination)) == sorted(image.blobs)
    assert not destination.store.has_blob("mirror/app", BASE.digest)


def test_children_of_an_index_share_the_foreign_layer(
    function: Function, registries: Start
) -> None:
    images = [
        build_image([BASE, build_layer(500, seed=seed)], f"windows/arch{seed}") for seed in (4, 5)
    ]
    index = build_index(images)
    source, destination = registries(), registries(quirks=REQUIRED)
    place(index, source.store, "team/app", "1")
    source.store.put_blob("team/app", BASE.content)

    response = replicate(function, source, destination, CopyImageIndex="true")

    check_copy(response, destination, index)
    assert response["Data"]["BlobsCopied"] == "5"


def _manifest_puts(registry: RegistryServer) -> int:
    return sum(each.method == "PUT" and "/manifests/" in each.path for each in registry.requests)
