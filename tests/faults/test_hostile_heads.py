"""Heads of answers that mean harm, or that a hurried parser takes for others."""

from __future__ import annotations

import pytest
from tests.faults.fault_proxy import Exchange, Fault
from tests.faults.hostile_servers import Ends, answer, go_on_for_ever

from ecr_image_replicator.errors import (
    DigestMismatchError,
    OutOfTimeError,
    ProtocolError,
    UnavailableError,
)

MALFORMED = "answered with headers that are malformed or contradict each other"


def begins(*lines: str) -> Fault:
    """Have the true answer's body follow lines of another's head."""

    def strike(exchange: Exchange) -> None:
        body = exchange.forward().body
        exchange.client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        exchange.close()

    return strike


@pytest.mark.parametrize("length", ["-5", "+5", "5 5", "many", "5, 6", "9" * 30, "9" * 5000])
def test_a_length_that_is_none_is_refused(ends: Ends, length: str) -> None:
    ends.source_answers("/blobs/", begins("HTTP/1.1 200 OK", f"Content-Length: {length}"))
    ends.fail(ProtocolError, MALFORMED)


@pytest.mark.parametrize("length", ["5", "5, 5", "9" * 18])
def test_a_length_that_is_not_the_blobs_is_noticed(ends: Ends, length: str) -> None:
    ends.source_answers("/blobs/", begins("HTTP/1.1 200 OK", f"Content-Length: {length}"))
    ends.fail(DigestMismatchError, "bytes and the manifest says")


@pytest.mark.parametrize("line", ["SSH-2.0-OpenSSH_9.6", "HTTP/2 200", "HTTP/1.1 2000 OK", ""])
def test_what_is_not_http_is_called_so(ends: Ends, line: str) -> None:
    ends.source_answers("/blobs/", begins(line))
    ends.fail(UnavailableError, "cannot be spoken to: what it answered is not HTTP")


@pytest.mark.parametrize("line", ["no header", ": no name", "Space : before", "\t continued"])
def test_a_line_that_is_no_header_is_refused(ends: Ends, line: str) -> None:
    ends.source_answers("/blobs/", begins("HTTP/1.1 200 OK", line))
    ends.fail(ProtocolError, MALFORMED)


@pytest.mark.parametrize("interim", ["100 Continue", "103 Early Hints"])
def test_an_interim_answer_is_not_taken_for_the_answer(ends: Ends, interim: str) -> None:
    hints = begins(f"HTTP/1.1 {interim}", "Link: </x>; rel=preload", "", "HTTP/1.1 200 OK")
    ends.source_answers("/blobs/", hints)
    ends.replicate()


@pytest.mark.parametrize("encoding", ["chunked", "CHUNKED", "\r\n chunked"])
def test_a_value_may_go_on_in_the_next_line(ends: Ends, encoding: str) -> None:
    def strike(exchange: Exchange) -> None:
        body = exchange.forward().body
        head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {encoding}\r\n\r\n".encode()
        exchange.client.sendall(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        exchange.close()

    ends.source_answers("/blobs/", strike)
    ends.replicate()


@pytest.mark.parametrize("host", ["x" * 64 + ".example", "registry..example"])
def test_a_name_that_no_host_can_have_is_refused(ends: Ends, host: str) -> None:
    ends.source_answers("/manifests/", answer(b"", 307, Location=f"http://{host}/"))
    ends.fail(ProtocolError, "redirect with an invalid URL, an invalid host name")


def test_two_lengths_for_one_body_are_refused(ends: Ends) -> None:
    ends.source_answers("/blobs/", answer(b"x" * 5, content_length="6"))
    ends.fail(ProtocolError, MALFORMED)


def test_a_header_of_megabytes_is_refused(ends: Ends) -> None:
    ends.source_answers("/manifests/", answer(b"", 200, X_Much="x" * 2**21), "HEAD")
    ends.fail(ProtocolError, "more headers than make sense")


def test_a_thousand_headers_are_refused(ends: Ends) -> None:
    many = {f"X-{number}": "x" for number in range(1000)}
    ends.source_answers("/manifests/", answer(b"", 200, **many), "HEAD")
    ends.fail(ProtocolError, "more headers than make sense")


def test_interim_answers_without_end_are_refused(ends: Ends) -> None:
    fault = go_on_for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
    ends.source_answers("/manifests/", fault, "HEAD")
    ends.fail(ProtocolError, "more headers than make sense")


def test_a_head_that_trickles_is_cut_when_the_time_is_over(ends: Ends) -> None:
    ends.source_answers(
        "/manifests/", go_on_for_ever(b"HTTP/1.1 200 OK\r\nX: ", b"x", pause_seconds=0.05), "HEAD"
    )
    ends.fail(OutOfTimeError, "timed out after", seconds=0.6)
