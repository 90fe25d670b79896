from __future__ import annotations

import dataclasses
import http.client
import os
import socket
import ssl
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from local.certificates import CertificateAuthority
from local.images import build_image, build_layer, push
from local.registry import (
    Action,
    BlobRedirects,
    DroppedConnectionError,
    ErrorCode,
    Operation,
    RegistryError,
    RegistryServer,
    SpecificationPolicy,
)
from local.web import Request, Response
from tests.local.wire_client import WireClient, basic

Connect = Callable[[RegistryServer], WireClient]


def test_a_tls_client_on_the_plain_port_is_disconnected_and_not_logged(
    registry: RegistryServer, client: WireClient
) -> None:
    context = ssl.create_default_context()
    with (
        socket.create_connection(("127.0.0.1", registry.port), timeout=60) as connection,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(connection, server_hostname="localhost")
    assert registry.requests == ()
    assert client.send("GET", "/v2/").status == 200


def test_images_are_pushed_and_pulled_over_tls(authority: CertificateAuthority) -> None:
    image = build_image([build_layer(1_000_000)])
    with RegistryServer(tls=authority.server_context()) as registry:
        context = authority.client_context()
        host = f"localhost:{registry.port}"
        push(image, host, "app", "1", "https", context=context)
        connection = http.client.HTTPSConnection(host, context=context, timeout=60)
        for digest, blob in image.blobs.items():
            connection.request("GET", f"/v2/app/blobs/{digest}")
            assert connection.getresponse().read() == blob
        connection.close()


def test_a_plain_client_on_the_tls_port_is_disconnected_and_not_logged(
    authority: CertificateAuthority,
) -> None:
    with RegistryServer(tls=authority.server_context()) as registry:
        client = WireClient(registry)
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            client.send("GET", "/v2/")
        client.close()
        assert registry.requests == ()


def test_connections_are_persistent_and_concurrent(
    registry: RegistryServer,
) -> None:
    images = [build_image([build_layer(200_000, seed)]) for seed in range(8)]
    threads = [
        threading.Thread(target=push, args=(image, registry.host, "app", f"t{number}"))
        for number, image in enumerate(images)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.store.tags("app") == {f"t{n}": image.digest for n, image in enumerate(images)}


def test_an_unread_body_does_not_discard_the_response(registry: RegistryServer) -> None:
    connection = http.client.HTTPConnection(registry.host, timeout=60)
    connection.request("PUT", "/v2/BAD/manifests/x", os.urandom(20_000_000))
    assert connection.getresponse().status == 400
    connection.close()


def test_100_continue_is_sent_before_the_body_is_read(registry: RegistryServer) -> None:
    head = "HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", registry.port), timeout=60) as connection:
        connection.sendall(f"POST /v2/BAD/blobs/uploads/ {head}".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection(("127.0.0.1", registry.port), timeout=60) as connection:
        connection.sendall(f"PUT /v2/app/manifests/1 {head}".encode())
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_the_request_log_has_queries_and_can_be_cleared(
    registry: RegistryServer, client: WireClient
) -> None:
    client.send("GET", "/v2/app/tags/list?n=3&last=a%2Fb", X_Tested="yes")
    (entry,) = registry.requests
    assert (entry.method, entry.path, entry.status) == ("GET", "/v2/app/tags/list", 404)
    assert entry.parameters == {"n": "3", "last": "a/b"}
    assert entry.headers["x-tested"] == "yes"
    registry.clear_requests()
    assert registry.requests == ()


def test_a_port_in_use_is_an_error(registry: RegistryServer) -> None:
    with pytest.raises(OSError, match="in use"):
        RegistryServer(registry.port)


def test_a_server_can_be_closed_twice() -> None:
    registry = RegistryServer().start()
    registry.close()
    registry.close()


@pytest.mark.parametrize("kind", ["absolute", "network-path", "path"])
def test_a_blob_is_redirected_to_a_signed_url(connect: Connect, kind: BlobRedirects) -> None:
    content = os.urandom(1000)
    with RegistryServer(blob_redirects=kind) as registry:
        digest = registry.store.put_blob("app", content)
        client = connect(registry)
        response = client.send("GET", f"/v2/app/blobs/{digest}")
        location = response.headers["location"]
        assert response.status == 307
        assert client.send("HEAD", f"/v2/app/blobs/{digest}").status == 200
        parts = urlsplit(location)
        assert (parts.scheme, bool(parts.netloc)) == {
            "absolute": ("http", True),
            "network-path": ("", True),
            "path": ("", False),
        }[kind]
        assert parts.netloc != registry.host
        storage = http.client.HTTPConnection(parts.netloc or registry.host, timeout=60)
        target = f"{parts.path}?{parts.query}"

        def get(target: str, **headers: str) -> tuple[int, bytes]:
            storage.request("GET", target, headers=headers)
            response = storage.getresponse()
            return response.status, response.read()

        assert get(target) == (200, content)
        assert get(target, Range="bytes=10-19") == (206, content[10:20])
        assert get(target[:-1] + ("0" if target[-1] != "0" else "1"))[0] == 403
        with_authorization = get(target, Authorization=basic("a", "b"))[0]
        assert with_authorization == (200 if kind == "path" else 400)
        storage.close()
        assert len(registry.storage_requests) == (0 if kind == "path" else 4)


def test_locations_can_be_absolute(connect: Connect) -> None:
    with RegistryServer(absolute_locations=True) as registry:
        location = connect(registry).send("POST", "/v2/app/blobs/uploads/").headers["location"]
        assert location.startswith(f"{registry.url}/v2/app/blobs/uploads/")


class FaultyPolicy(SpecificationPolicy):
    def before(self, operation: Operation, *_: object) -> None:
        if operation.action is Action.PUT_MANIFEST:
            raise RegistryError(
                ErrorCode.TOOMANYREQUESTS, "Rate exceeded", headers={"Retry-After": "1"}
            )
        if operation.action is Action.LIST_TAGS:
            raise DroppedConnectionError

    def may_mount(self, *_: object) -> bool:
        return False

    def after(self, operation: Operation, _: Request, response: Response) -> Response:
        if operation.action is Action.GET_BLOB:
            return dataclasses.replace(response, drop_after_bytes=3)
        return response


def test_a_policy_rejects_requests_and_drops_connections(connect: Connect) -> None:
    with RegistryServer(policy=FaultyPolicy()) as registry:
        digest = registry.store.put_blob("app", b"0123456789")
        client = connect(registry)
        throttled = client.send("PUT", "/v2/app/manifests/1", b"{}")
        assert (throttled.status, throttled.headers["retry-after"]) == (429, "1")
        mount = client.send("POST", f"/v2/other/blobs/uploads/?mount={digest}&from=app")
        assert mount.status == 202
        with pytest.raises(http.client.RemoteDisconnected):
            client.send("GET", "/v2/app/tags/list")
        with pytest.raises(http.client.IncompleteRead):
            connect(registry).send("GET", f"/v2/app/blobs/{digest}")
        dropped, broken = registry.requests[-2:]
        assert (dropped.status, broken.status, broken.response_bytes) == (0, 200, 3)
