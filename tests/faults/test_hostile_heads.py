"""Response heads that are malformed, too long or ambiguous."""

from __future__ import annotations

import pytest
from tests.faults.fault_proxy import Exchange, Fault
from tests.faults.hostile_servers import ExpiringDeadline, HostilePair, respond, send_endlessly

from ecr_image_replicator.errors import (
    DigestMismatchError,
    OutOfTimeError,
    ProtocolError,
    UnavailableError,
)

MALFORMED = "invalid response from .*: the headers are malformed or contradict each other"


def begins(*lines: str) -> Fault:
    """Send these lines as the head of the real response."""

    def inject(exchange: Exchange) -> None:
        body = exchange.forward().body
        exchange.client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        exchange.close()

    return inject


@pytest.mark.parametrize("length", ["-5", "+5", "5 5", "many", "5, 6", "9" * 30, "9" * 5000])
def test_an_invalid_content_length_is_rejected(pair: HostilePair, length: str) -> None:
    pair.source_responds("/blobs/", begins("HTTP/1.1 200 OK", f"Content-Length: {length}"))
    pair.assert_fails(ProtocolError, MALFORMED)


@pytest.mark.parametrize("length", ["5", "5, 5", "9" * 18])
def test_a_content_length_that_differs_from_the_blob_size_is_rejected(
    pair: HostilePair, length: str
) -> None:
    pair.source_responds("/blobs/", begins("HTTP/1.1 200 OK", f"Content-Length: {length}"))
    pair.assert_fails(DigestMismatchError, "bytes and the manifest says")


@pytest.mark.parametrize("line", ["SSH-2.0-OpenSSH_9.6", "HTTP/2 200", "HTTP/1.1 2000 OK", ""])
def test_a_response_that_is_not_http_is_an_error(pair: HostilePair, line: str) -> None:
    pair.source_responds("/blobs/", begins(line))
    pair.assert_fails(UnavailableError, r"cannot connect to .*: invalid response \(not HTTP\)")


@pytest.mark.parametrize("line", ["no header", ": no name", "Space : before", "\t continued"])
def test_an_invalid_header_line_is_rejected(pair: HostilePair, line: str) -> None:
    pair.source_responds("/blobs/", begins("HTTP/1.1 200 OK", line))
    pair.assert_fails(ProtocolError, MALFORMED)


@pytest.mark.parametrize("interim", ["100 Continue", "103 Early Hints"])
def test_an_interim_response_is_skipped(pair: HostilePair, interim: str) -> None:
    hints = begins(f"HTTP/1.1 {interim}", "Link: </x>; rel=preload", "", "HTTP/1.1 200 OK")
    pair.source_responds("/blobs/", hints)
    pair.replicate()


@pytest.mark.parametrize("encoding", ["chunked", "CHUNKED", "\r\n chunked"])
def test_a_folded_header_value_is_accepted(pair: HostilePair, encoding: str) -> None:
    def inject(exchange: Exchange) -> None:
        body = exchange.forward().body
        head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {encoding}\r\n\r\n".encode()
        exchange.client.sendall(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        exchange.close()

    pair.source_responds("/blobs/", inject)
    pair.replicate()


@pytest.mark.parametrize("host", ["x" * 64 + ".example", "registry..example"])
def test_an_invalid_host_name_is_rejected(pair: HostilePair, host: str) -> None:
    pair.source_responds("/manifests/", respond(b"", 307, Location=f"http://{host}/"))
    pair.assert_fails(ProtocolError, "redirect with an invalid URL, an invalid host name")


def test_two_content_lengths_are_rejected(pair: HostilePair) -> None:
    pair.source_responds("/blobs/", respond(b"x" * 5, content_length="6"))
    pair.assert_fails(ProtocolError, MALFORMED)


def test_a_header_of_megabytes_is_rejected(pair: HostilePair) -> None:
    pair.source_responds("/manifests/", respond(b"", 200, X_Much="x" * 2**21), "HEAD")
    pair.assert_fails(ProtocolError, "the headers are too long or too many")


def test_a_thousand_headers_are_rejected(pair: HostilePair) -> None:
    many = {f"X-{number}": "x" for number in range(1000)}
    pair.source_responds("/manifests/", respond(b"", 200, **many), "HEAD")
    pair.assert_fails(ProtocolError, "the headers are too long or too many")


def test_endless_interim_responses_are_rejected(pair: HostilePair) -> None:
    fault = send_endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
    pair.source_responds("/manifests/", fault, "HEAD")
    pair.assert_fails(ProtocolError, "the headers are too long or too many")


def test_a_slow_response_head_ends_at_the_deadline(pair: HostilePair) -> None:
    deadline = ExpiringDeadline()
    trickle = send_endlessly(b"HTTP/1.1 200 OK\r\nX: ", b"x", then=deadline.expire)
    pair.source_responds("/manifests/", trickle, "HEAD")
    pair.assert_fails(OutOfTimeError, "timed out after 120 s.*: cannot pull", deadline=deadline)


def test_a_chunked_body_with_an_endless_trailer_is_rejected(pair: HostilePair) -> None:
    head = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    pair.source_responds("/blobs/", send_endlessly(head, b"X-Trailer: yes\r\n" * 4096))
    pair.assert_fails(ProtocolError, "the headers are too long or too many")
