"""Hostile registries: everything that they send has a limit, and ends in an error message."""

from __future__ import annotations

import pytest
from tests.faults.fault_proxy import Exchange, pass_on
from tests.faults.hostile_servers import SHA, Ends, ExpiringDeadline, respond, send_endlessly
from tests.waiting import wait_until

from ecr_image_replicator.errors import (
    DigestMismatchError,
    OutOfTimeError,
    ProtocolError,
    ReplicationError,
)
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings


def test_an_endless_manifest_is_read_to_its_limit(ends: Ends) -> None:
    ends.source_responds("/manifests/", send_endlessly(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536))
    ends.assert_fails(
        ProtocolError, "invalid response from .*: 200 OK with more than 4194304 bytes"
    )


def test_an_endless_error_response_is_read_to_its_limit(ends: Ends) -> None:
    ends.source_responds("/blobs/", send_endlessly(b"HTTP/1.1 404 Not\r\n\r\n", b"x" * 65536))
    ends.assert_fails(ProtocolError, "404 Not Found with more than 1048576 bytes")


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
def test_an_endless_blob_is_read_to_its_size(ends: Ends, head: bytes, more: bytes) -> None:
    ends.source_responds("/blobs/", send_endlessly(head, more))
    ends.assert_fails(DigestMismatchError, "it is longer")


def test_a_blob_with_another_content_length_is_not_read(ends: Ends) -> None:
    ends.source_responds("/blobs/", respond(b"x" * 99))
    ends.assert_fails(DigestMismatchError, "has 99 bytes and the manifest says")


def test_endless_redirects_are_followed_five_times(ends: Ends) -> None:
    numbers = iter(range(10**6))

    def strike(exchange: Exchange) -> None:
        location = f"{exchange.request.target}?{next(numbers)}"
        respond(b"", 307, Location=location)(exchange)

    ends.source_responds("/blobs/", strike)
    ends.assert_fails(ProtocolError, "more than 5 redirects in a row", Platforms="all")
    assert len([each for each in ends.source.exchanges if "/blobs/" in each.target]) <= 12


@pytest.mark.parametrize("location", ["", "http://[", "ftp://example.com/x", "file:///etc/passwd"])
def test_an_invalid_redirect_is_rejected(ends: Ends, location: str) -> None:
    ends.source_responds("/manifests/", respond(b"", 307, Location=location))
    ends.assert_fails(ProtocolError, "invalid response from .*redirect")


def test_a_body_that_trickles_is_cut_by_the_deadline(ends: Ends) -> None:
    config, layer = sorted(ends.image.blobs, key=lambda each: len(ends.image.blobs[each]))
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(ends.image.blobs[layer])}\r\n\r\n".encode()
    deadline = ExpiringDeadline()

    def expire() -> None:
        # a POST that the deadline cuts would leave the config's upload session open
        wait_until(lambda: ends.destination_registry.store.has_blob("copy", config))
        deadline.expire()

    ends.source_responds(layer, send_endlessly(head, b"x", then=expire))
    ends.assert_fails(OutOfTimeError, "timed out after 120 s", deadline=deadline)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_a_content_encoding_that_was_not_requested_is_rejected(ends: Ends, encoding: str) -> None:
    ends.source_responds("/blobs/", respond(b"x", Content_Encoding=encoding))
    ends.assert_fails(ProtocolError, "a Content-Encoding that was not requested")


def test_a_digest_on_which_head_and_get_disagree_is_not_used(ends: Ends) -> None:
    ends.source_responds("/manifests/", respond(b"", Docker_Content_Digest=SHA), "HEAD")
    ends.assert_fails(ReplicationError, f"{SHA}.*image not found")


def test_a_retry_after_of_years_fails_the_request_and_not_the_next_one(ends: Ends) -> None:
    ends.source_responds("/manifests/", respond(b"", 429, Retry_After="9" * 40), "HEAD")
    ends.assert_fails(OutOfTimeError, "the next attempt in 999999999 s exceeds")
    ends.source.start_over(lambda _: pass_on)
    replicator = Replicator(Settings(plain_http=("127.0.0.1",)))
    ends.replicator.close()
    ends.replicator = replicator
    ends.replicate()
