"""Error responses of registries, and the messages for them. See docs/compatibility.md."""

from __future__ import annotations

import json

import pytest
from local.images import Image, build_image, build_layer, place
from local.registry import (
    Quirks,
    RegistryServer,
)
from tests.functional.conftest import Function
from tests.functional.quirks.replicating import Start, replicate


def test_the_first_specific_error_is_reported_and_not_retried(
    function: Function, registries: Start
) -> None:
    foreign = build_image([build_layer(100, seed=3)])
    document = json.loads(foreign.manifest)
    document["layers"].append(
        {
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": "sha256:" + "1" * 64,
            "size": 10,
            "urls": ["https://windows.example/layer"],
        }
    )
    content = json.dumps(document).encode()
    source = registries()
    place(foreign, source.store, "team/app")
    source.store.put_manifest("team/app", "1", content, foreign.media_type)
    destination = registries(quirks=Quirks(rejects_layer_urls=True))

    response = replicate(function, source, destination)

    assert response["Status"] == "FAILED"
    assert "500 Internal Server Error" in response["Reason"]
    assert "invalid URL on layer" in response["Reason"]
    assert "allow their URLs in the registry" in response["Reason"]
    puts = [each for each in destination.requests if "/manifests/" in each.path]
    assert [each.method for each in puts].count("PUT") == 1
    assert "windows.example" not in response["Reason"]


def test_foreign_layers_are_not_copied(function: Function, registries: Start) -> None:
    foreign = build_image([build_layer(100, seed=3)])
    document = json.loads(foreign.manifest)
    document["layers"].append(
        {
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": "sha256:" + "1" * 64,
            "size": 10,
            "urls": ["https://windows.example/layer"],
        }
    )
    source, destination = registries(), registries()
    place(foreign, source.store, "team/app")
    content = json.dumps(document).encode()
    source.store.put_manifest("team/app", "1", content, foreign.media_type)

    response = replicate(function, source, destination)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert destination.store.manifest("mirror/app", "1").content == content


def test_the_message_for_a_413_of_a_proxy_names_the_body_size_limit(
    function: Function, registries: Start, source: RegistryServer
) -> None:
    destination = registries(quirks=Quirks(max_body_bytes=100_000))

    response = replicate(function, source, destination)

    assert response["Status"] == "FAILED"
    assert "request too large (413 " in response["Reason"]
    assert "client_max_body_size" in response["Reason"]
    assert destination.store.open_uploads == ()


@pytest.mark.parametrize(
    ("side", "pinned"),
    [("source", ""), ("source", "@sha256:" + "0" * 64), ("destination", "")],
)
def test_a_web_server_is_reported_as_not_a_container_registry(
    function: Function, registries: Start, image: Image, side: str, pinned: str
) -> None:
    web, registry = registries(quirks=Quirks(is_web_server=True)), registries()
    place(image, registry.store, "team/app", "1")
    hosts = (web, registry) if side == "source" else (registry, web)

    response = function.create(
        f"{hosts[0].host}/team/app:1{pinned}", f"{hosts[1].host}/mirror/app:1"
    )

    assert response["Status"] == "FAILED"
    assert f"{web.host} is not a container registry (200 OK, text/html)" in response["Reason"]
    assert ("SrcImage" if side == "source" else "DestImage") in response["Reason"]
