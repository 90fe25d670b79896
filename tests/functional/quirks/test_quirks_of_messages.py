"""Error responses of registries, and the messages for them. See docs/compatibility.md."""

from __future__ import annotations

import json
from typing import Any

import pytest
from local.images import Image, build_image, build_layer, place
from local.registry import Operation, Quirks, RegistryServer, SpecificationPolicy
from local.web import Request, Response
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


class RejectingPolicy(SpecificationPolicy):
    """A registry that rejects each upload request and each manifest with the same response."""

    def __init__(self, status: int, content: bytes, content_type: str) -> None:
        self._response = Response(status, {"Content-Type": content_type}, content)

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        is_write = request.method in {"POST", "PUT"}
        return self._response if is_write else super().after(operation, request, response)


ZOT = {"code": "MANIFEST_INVALID", "message": "manifest invalid", "detail": {"mediaType": "x/y"}}
PAGE = b"<html>\r\n<head><title>%s</title></head>\r\n<body>nginx</body></html>"
PROBLEM = {"type": "about:blank", "title": "Quota exceeded", "status": 422}
GOOGLE = {"code": 400, "message": "Request contains an invalid argument.", "status": "INVALID"}


@pytest.mark.parametrize(
    ("status", "content", "content_type", "reason"),
    [
        (415, {"errors": [ZOT]}, "application/json", "MANIFEST_INVALID: manifest invalid ({media"),
        (400, PAGE % b"400 Bad Request", "text/html", "(400 Bad Request)"),
        (405, PAGE % b"405 Not Allowed", "text/html", "(405 Method Not Allowed, 405 Not Allowed)"),
        (400, PAGE % b"Blocked &amp; logged", "text/html", "(400 Bad Request, Blocked & logged)"),
        (422, PROBLEM, "application/problem+json", "Quota exceeded)"),
        (400, {"error": GOOGLE}, "application/json", "INVALID: Request contains an invalid arg"),
        (400, {"errors": ["no space"]}, "application/json", "(400 Bad Request, no space)"),
        (409, b"locked by gc\nsee the manual", "text/plain", "(409 Conflict, locked by gc)"),
        (409, b"locked by gc\n", "", "(409 Conflict, locked by gc)"),
    ],
)
def test_the_reason_of_the_registry_or_its_proxy_is_in_the_message(
    function: Function,
    registries: Start,
    source: RegistryServer,
    status: int,
    content: Any,
    content_type: str,
    reason: str,
) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    destination = registries(policy=RejectingPolicy(status, body, content_type))

    response = replicate(function, source, destination)

    assert response["Status"] == "FAILED"
    assert f"request rejected ({status} " in response["Reason"]
    assert reason in response["Reason"]


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
