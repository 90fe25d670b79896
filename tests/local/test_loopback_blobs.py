from __future__ import annotations

import hashlib
import http.client
import os
import socket

import pytest
from local.registry import RegistryServer
from tests.local.wire_client import WireClient, with_digest
from tests.waiting import wait_until

CONTENT = bytes(range(256)) * 8
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
SHA512 = "sha512:" + hashlib.sha512(CONTENT).hexdigest()
UPLOADS = "/v2/team/app/blobs/uploads/"


def start(client: WireClient) -> str:
    response = client.send("POST", UPLOADS)
    assert response.status == 202
    return response.headers["location"]


def test_the_base_endpoint_returns_the_api_version_header(client: WireClient) -> None:
    response = client.send("GET", "/v2/")
    assert (response.status, response.headers["docker-distribution-api-version"]) == (
        200,
        "registry/2.0",
    )


@pytest.mark.parametrize("digest", [DIGEST, SHA512])
def test_a_blob_is_pushed_with_post_and_one_put(
    registry: RegistryServer, client: WireClient, digest: str
) -> None:
    response = client.send("PUT", with_digest(start(client), digest), CONTENT)
    assert (response.status, response.headers["docker-content-digest"]) == (201, digest)
    assert client.send("GET", response.headers["location"]).body == CONTENT
    assert registry.store.read_blob("team/app", digest) == CONTENT
    assert registry.store.open_uploads == ()


def test_a_blob_is_pushed_with_a_chunked_patch_and_an_empty_put(client: WireClient) -> None:
    pieces = (CONTENT[start : start + 100] for start in range(0, len(CONTENT), 100))
    patched = client.send("PATCH", start(client), pieces, chunked=True, Transfer_Encoding="chunked")
    assert (patched.status, patched.headers["range"]) == (202, f"0-{len(CONTENT) - 1}")
    put = client.send("PUT", with_digest(patched.headers["location"], DIGEST))
    assert put.status == 201
    assert client.send("GET", f"/v2/team/app/blobs/{DIGEST}").body == CONTENT


def test_a_blob_is_pushed_in_two_chunks(client: WireClient) -> None:
    location = start(client)
    first = client.send("PATCH", location, CONTENT[:1000], Content_Range="0-999")
    status = client.send("GET", first.headers["location"])
    assert (status.status, status.headers["range"]) == (204, "0-999")
    last = f"1000-{len(CONTENT) - 1}"
    target = with_digest(first.headers["location"], DIGEST)
    assert client.send("PUT", target, CONTENT[1000:], Content_Range=last).status == 201
    assert client.send("GET", f"/v2/team/app/blobs/{DIGEST}").body == CONTENT


def test_a_chunk_out_of_order_is_rejected_with_the_offset(
    client: WireClient,
) -> None:
    patched = client.send("PATCH", start(client), CONTENT[:100], Content_Range="0-99")
    again = client.send(
        "PATCH", patched.headers["location"], CONTENT[200:300], Content_Range="200-299"
    )
    assert (again.status, again.error_code) == (416, "BLOB_UPLOAD_INVALID")
    assert again.headers["range"] == "0-99"


def test_a_chunk_whose_length_differs_from_its_range_is_rejected(client: WireClient) -> None:
    response = client.send("PATCH", start(client), CONTENT[:100], Content_Range="0-199")
    assert (response.status, response.error_code) == (400, "SIZE_INVALID")


def test_a_blob_is_pushed_with_a_single_post(client: WireClient) -> None:
    assert client.send("POST", with_digest(UPLOADS, DIGEST), CONTENT).status == 201
    head = client.send("HEAD", f"/v2/team/app/blobs/{DIGEST}")
    assert (head.status, head.headers["content-length"], head.body) == (
        200,
        str(len(CONTENT)),
        b"",
    )


def test_an_empty_blob_can_be_pushed_and_pulled(client: WireClient) -> None:
    empty = "sha256:" + hashlib.sha256(b"").hexdigest()
    assert client.send("PUT", with_digest(start(client), empty)).status == 201
    response = client.send("GET", f"/v2/team/app/blobs/{empty}")
    assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize("by_post", [True, False])
def test_content_with_a_digest_mismatch_is_rejected_and_removed(
    registry: RegistryServer, client: WireClient, by_post: bool
) -> None:
    method, location = ("POST", UPLOADS) if by_post else ("PUT", start(client))
    response = client.send(method, with_digest(location, DIGEST), CONTENT[1:])
    assert (response.status, response.error_code) == (400, "DIGEST_INVALID")
    assert not registry.store.has_blob("team/app", DIGEST)
    assert registry.store.open_uploads == ()


@pytest.mark.parametrize("digest", ["", "md5:abc", "sha256:ABC", "sha256:" + "0" * 63])
def test_a_malformed_digest_is_rejected(client: WireClient, digest: str) -> None:
    response = client.send("PUT", with_digest(start(client), digest), CONTENT)
    assert (response.status, response.error_code) == (400, "DIGEST_INVALID")


def test_a_cancelled_upload_is_removed(registry: RegistryServer, client: WireClient) -> None:
    location = start(client)
    assert [upload.repository for upload in registry.store.open_uploads] == ["team/app"]
    assert client.send("DELETE", location).status == 204
    assert not registry.store.open_uploads
    response = client.send("PATCH", location, CONTENT)
    assert (response.status, response.error_code) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_an_upload_url_without_its_query_is_rejected(client: WireClient) -> None:
    response = client.send("PATCH", start(client).partition("?")[0], CONTENT)
    assert (response.status, response.error_code) == (400, "BLOB_UPLOAD_INVALID")


def test_a_mount_links_the_blob(registry: RegistryServer, client: WireClient) -> None:
    registry.store.put_blob("other/app", CONTENT)
    response = client.send("POST", f"{UPLOADS}?mount={DIGEST}&from=other/app")
    assert (response.status, response.headers["docker-content-digest"]) == (201, DIGEST)
    assert registry.store.has_blob("team/app", DIGEST)


def test_a_mount_from_the_same_repository_succeeds(
    registry: RegistryServer, client: WireClient
) -> None:
    registry.store.put_blob("team/app", CONTENT)
    assert client.send("POST", f"{UPLOADS}?mount={DIGEST}&from=team/app").status == 201


@pytest.mark.parametrize("source", ["&from=other/app", "", "&from=NOT%20A%20NAME"])
def test_a_mount_of_an_unknown_blob_opens_an_upload_session(
    registry: RegistryServer, client: WireClient, source: str
) -> None:
    registry.store.put_blob("third/app", CONTENT)
    response = client.send("POST", f"{UPLOADS}?mount={DIGEST}{source}")
    assert response.status == 202
    assert not registry.store.has_blob("team/app", DIGEST)
    put = client.send("PUT", with_digest(response.headers["location"], DIGEST), CONTENT)
    assert put.status == 201


def test_a_blob_is_visible_in_its_repository_only(
    registry: RegistryServer, client: WireClient
) -> None:
    registry.store.put_blob("other/app", CONTENT)
    response = client.send("GET", f"/v2/team/app/blobs/{DIGEST}")
    assert (response.status, response.error_code) == (404, "BLOB_UNKNOWN")
    assert client.send("DELETE", f"/v2/other/app/blobs/{DIGEST}").status == 202
    assert client.send("HEAD", f"/v2/other/app/blobs/{DIGEST}").status == 404


@pytest.mark.parametrize(
    ("wanted", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-", 100, 2048),
        ("bytes=-48", 2000, 2048),
        ("bytes=2040-9999", 2040, 2048),
        ("bytes=-9999", 0, 2048),
    ],
)
def test_a_range_of_a_blob_is_partial_content(
    registry: RegistryServer, client: WireClient, wanted: str, first: int, end: int
) -> None:
    registry.store.put_blob("team/app", CONTENT)
    response = client.send("GET", f"/v2/team/app/blobs/{DIGEST}", Range=wanted)
    assert response.status == 206
    assert response.headers["content-range"] == f"bytes {first}-{end - 1}/2048"
    assert response.body == CONTENT[first:end]


@pytest.mark.parametrize("wanted", ["bytes=2048-", "bytes=9-3", "bytes=-0"])
def test_a_range_past_the_end_is_not_satisfiable(
    registry: RegistryServer, client: WireClient, wanted: str
) -> None:
    registry.store.put_blob("team/app", CONTENT)
    response = client.send("GET", f"/v2/team/app/blobs/{DIGEST}", Range=wanted)
    assert (response.status, response.headers["content-range"]) == (416, "bytes */2048")


def test_an_aborted_body_leaves_no_blob_and_an_open_session(
    registry: RegistryServer, client: WireClient
) -> None:
    target = with_digest(start(client), DIGEST)
    with socket.create_connection(("127.0.0.1", registry.port)) as connection:
        connection.sendall(
            f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(CONTENT)}\r\n\r\n".encode()
            + CONTENT[:500]
        )
    wait_until(lambda: registry.requests[-1].method == "PUT")
    assert registry.requests[-1].status == 0
    assert registry.requests[-1].request_bytes == 500
    assert not registry.store.has_blob("team/app", DIGEST)
    (upload,) = registry.store.open_uploads
    assert (upload.repository, upload.received_bytes) == ("team/app", 500)


def test_an_upload_continues_after_an_aborted_chunk(
    registry: RegistryServer, client: WireClient
) -> None:
    location = start(client)
    with socket.create_connection(("127.0.0.1", registry.port)) as connection:
        head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + b"200\r\n" + CONTENT[:512] + b"\r\n")
    wait_until(lambda: registry.store.open_uploads[0].received_bytes == 512)
    response = client.send(
        "PUT",
        with_digest(location, DIGEST),
        CONTENT[512:],
        Content_Range=f"512-{len(CONTENT) - 1}",
    )
    assert response.status == 201


def test_a_large_blob_is_pushed_with_content_length_and_chunked_encoding(
    registry: RegistryServer,
) -> None:
    content = os.urandom(5_000_001)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    connection = http.client.HTTPConnection(registry.host, timeout=60)
    try:
        for repository, body in (
            ("a", content),
            ("b", iter([content[:700_001], content[700_001:]])),
        ):
            target = f"/v2/{repository}/blobs/uploads/?digest={digest}"
            connection.request("POST", target, body, encode_chunked=True)
            response = connection.getresponse()
            assert (response.status, response.read()) == (201, b"")
            connection.request("GET", f"/v2/{repository}/blobs/{digest}")
            assert connection.getresponse().read() == content
    finally:
        connection.close()
    assert [entry.request_bytes for entry in registry.requests] == [5_000_001, 0, 5_000_001, 0]
    assert [entry.response_bytes for entry in registry.requests] == [0, 5_000_001, 0, 5_000_001]
