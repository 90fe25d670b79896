"""Hostile registries: all responses are limited and rejected with an error."""

from __future__ import annotations

import gzip
import time

import pytest
from tests.faults.fault_proxy import Exchange, pass_on
from tests.faults.hostile_servers import SHA, ExpiringDeadline, HostilePair, respond, send_endlessly
from tests.waiting import wait_until

from ecr_image_replicator.errors import (
    DeniedError,
    DigestMismatchError,
    OutOfTimeError,
    ProtocolError,
    ReplicationError,
)
from ecr_image_replicator.registry import cancellation
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings


def test_an_endless_manifest_is_read_up_to_the_limit(pair: HostilePair) -> None:
    pair.source_responds("/manifests/", send_endlessly(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536))
    pair.assert_fails(
        ProtocolError, "invalid response from .*: 200 OK with more than 4194304 bytes"
    )


def test_an_endless_error_response_is_read_up_to_the_limit(pair: HostilePair) -> None:
    pair.source_responds("/blobs/", send_endlessly(b"HTTP/1.1 404 Not\r\n\r\n", b"x" * 65536))
    pair.assert_fails(ProtocolError, "404 Not Found with more than 1048576 bytes")


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1000\r\n" + b"x" * 4096 + b"\r\n",
        ),
    ],
)
def test_an_endless_blob_is_read_up_to_its_size(
    pair: HostilePair, head: bytes, more: bytes
) -> None:
    pair.source_responds("/blobs/", send_endlessly(head, more))
    pair.assert_fails(
        DigestMismatchError,
        "^cannot pull blob sha256:[0-9a-f]+ of 127.0.0.1:[0-9]+/[a-z/]+: digest mismatch, expected "
        "sha256:[0-9a-f]+ of [0-9]+ bytes, it is longer",
    )


def test_a_blob_with_a_wrong_content_length_is_not_read(pair: HostilePair) -> None:
    pair.source_responds("/blobs/", respond(b"x" * 99))
    pair.assert_fails(DigestMismatchError, "has 99 bytes and the manifest says")


def test_a_redirect_without_a_location_is_an_error(pair: HostilePair) -> None:
    pair.source_responds("/manifests/", respond(status=301))
    pair.assert_fails(
        ProtocolError, r"redirect without a Location header \(301 Moved Permanently\)"
    )


def test_a_slow_response_to_a_cancellation_does_not_delay_the_error(
    pair: HostilePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancellation, "_SECONDS", 0.3)
    sent_bytes: list[int] = []

    def drip(exchange: Exchange) -> None:
        """Send a byte at a time, before any timeout for a single read."""
        exchange.read_body()
        exchange.client.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 400\r\n\r\n")
        for count in range(400):
            sent_bytes.append(count)
            time.sleep(0.03)
            exchange.client.sendall(b"x")

    pair.destination_responds("/uploads/", drip, "DELETE")
    pair.source_responds("/blobs/", respond(status=403))
    with pytest.raises(DeniedError):
        pair.replicate()
    assert 0 < len(sent_bytes) < 400


def test_a_repeated_content_length_is_accepted(pair: HostilePair) -> None:
    def repeat(exchange: Exchange) -> None:
        exchange.read_body()
        response = exchange.forward()
        exchange.send(response.with_header(b"Content-Length: %d" % len(response.body)))

    pair.source_responds("/blobs/", repeat)
    pair.replicate()
    assert pair.destination_registry.store.tags("copy") == {"1": pair.image.digest}


def test_at_most_ten_redirects_are_followed(pair: HostilePair) -> None:
    numbers = iter(range(10**6))

    def inject(exchange: Exchange) -> None:
        location = f"{exchange.request.target}?{next(numbers)}"
        respond(b"", 307, Location=location)(exchange)

    pair.source_responds("/blobs/", inject)
    pair.assert_fails(ProtocolError, "more than 10 redirects in a row", Platforms="all")
    assert len([each for each in pair.source.exchanges if "/blobs/" in each.target]) <= 22


@pytest.mark.parametrize("location", ["", "http://[", "ftp://example.com/x", "file:///etc/passwd"])
def test_an_invalid_redirect_is_rejected(pair: HostilePair, location: str) -> None:
    pair.source_responds("/manifests/", respond(b"", 307, Location=location))
    pair.assert_fails(ProtocolError, "invalid response from .*redirect")


def test_a_slow_body_ends_at_the_deadline(pair: HostilePair) -> None:
    config, layer = sorted(pair.image.blobs, key=lambda each: len(pair.image.blobs[each]))
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(pair.image.blobs[layer])}\r\n\r\n".encode()
    deadline = ExpiringDeadline()

    def expire() -> None:
        # a POST that the deadline cuts would leave the config's upload session open
        wait_until(lambda: pair.destination_registry.store.has_blob("copy", config))
        deadline.expire()

    pair.source_responds(layer, send_endlessly(head, b"x", then=expire))
    pair.assert_fails(OutOfTimeError, "timed out after 120 s", deadline=deadline)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_a_content_encoding_that_was_not_requested_is_rejected(
    pair: HostilePair, encoding: str
) -> None:
    for part in ("/manifests/", "/blobs/"):
        pair.source_responds(part, respond(b"x", Content_Encoding=encoding))
        pair.assert_fails(ProtocolError, "a Content-Encoding that was not requested")


def test_an_encoded_error_page_is_not_read(pair: HostilePair) -> None:
    page = gzip.compress(b"<html><title>Not Found</title></html>")
    missing = respond(page, 404, Content_Encoding="gzip", media_type="text/html")
    pair.destination_responds("/manifests/", missing, "GET")
    pair.replicate()
    assert pair.destination_registry.store.tags("copy") == {"1": pair.image.digest}


def test_different_digests_of_head_and_get_are_an_error(pair: HostilePair) -> None:
    pair.source_responds("/manifests/", respond(b"", Docker_Content_Digest=SHA), "HEAD")
    pair.assert_fails(ReplicationError, f"{SHA}.*image not found")


def test_a_retry_after_of_years_fails_only_one_request(pair: HostilePair) -> None:
    pair.source_responds("/manifests/", respond(b"", 429, Retry_After="9" * 40), "HEAD")
    pair.assert_fails(OutOfTimeError, "the next attempt in 999999999 s exceeds")
    pair.source.reset_exchanges(lambda _: pass_on)
    replicator = Replicator(Settings(plain_http=("127.0.0.1",)))
    pair.replicator.close()
    pair.replicator = replicator
    pair.replicate()
