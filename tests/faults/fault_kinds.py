"""The faults that the tests inject: what each does to an exchange, and the allowed results."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.faults.fault_proxy import Exchange, Fault, Message, Record


@dataclass(frozen=True)
class FaultKind:
    """A fault, its name and what is expected.

    Attributes
    ----------
    passes
        If it happens once, the image still arrives.
    hides_response
        The replicator never sees the registry's response, so it cannot cancel an upload session
        that the request opened.
    needs
        The body that the fault changes. An exchange without such a body is passed on unchanged.
    is_seen
        The registry behind the proxy takes part: the fault is worth a test with another registry.
    """

    name: str
    strike: Fault
    passes: bool = True
    hides_response: bool = False
    needs: Literal["", "request", "response"] = ""
    is_seen: bool = True

    def can_strike(self, record: Record) -> bool:
        wanted = {
            "": True,
            "request": record.request_bytes > 0,
            "response": record.response_bytes > 0,
        }
        return wanted[self.needs]


def reset_at_once(exchange: Exchange) -> None:
    exchange.reset()


def close_at_once(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.close()


def never_respond(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.stall()


def send_garbage(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.client.sendall(b"\x16\x03 garbage\r\n\r\n")
    exchange.close()


def lose_response(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.forward()
    exchange.reset()


def send_twice(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.forward()
    exchange.send(exchange.forward())


def cut_head(exchange: Exchange) -> None:
    exchange.read_body()
    response = exchange.forward()
    exchange.client.sendall(response.head[: len(response.head) // 2])
    exchange.close()


def respond_slowly(exchange: Exchange) -> None:
    exchange.read_body()
    response = exchange.forward()
    time.sleep(0.005)
    exchange.client.sendall(response.head[:20])
    time.sleep(0.005)
    exchange.client.sendall(response.head[20:])
    half = len(response.body) // 2
    exchange.client.sendall(response.body[:half])
    time.sleep(0.005)
    exchange.client.sendall(response.body[half:])


def respond_with(status: int, code: str = "", header: Callable[[], bytes] | None = None) -> Fault:
    def strike(exchange: Exchange) -> None:
        exchange.read_body()
        content = json.dumps({"errors": [{"code": code, "message": "a fault"}]}).encode()
        body = b"" if exchange.request.method == "HEAD" else content
        lines = [b"HTTP/1.1 %d Fault" % status, b"Content-Length: %d" % len(content)]
        lines += [header()] if header else []
        exchange.send(Message(b"\r\n".join([*lines, b"", b""]), body))

    return strike


def redirect_to_itself(exchange: Exchange) -> None:
    exchange.read_body()
    location = exchange.request.target.encode()
    exchange.send(
        Message(b"HTTP/1.1 307 Fault\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")
    )


def cut_body(where: float, *, by_reset: bool = False, stalls: bool = False) -> Fault:
    def strike(exchange: Exchange) -> None:
        exchange.read_body()
        response = exchange.forward()
        if not response.body:
            exchange.send(response)
            return
        exchange.send(response, min(int(len(response.body) * where), len(response.body) - 1))
        if stalls:
            exchange.stall()
        elif by_reset:
            exchange.reset()
        else:
            exchange.close()

    return strike


def corrupt_body(where: float) -> Fault:
    def strike(exchange: Exchange) -> None:
        exchange.read_body()
        response = exchange.forward()
        exchange.send(Message(response.head, _with_a_flip(response.body, where)))

    return strike


def announce_other_length(difference: int) -> Fault:
    """Announce and send more or fewer bytes than the body has."""

    def strike(exchange: Exchange) -> None:
        exchange.read_body()
        response = exchange.forward()
        if response.body:
            response.body = (response.body + b" " * 16)[: len(response.body) + difference]
            response = response.announcing(len(response.body))
        exchange.send(response)

    return strike


def claim_gzip(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.send(exchange.forward().with_header(b"Content-Encoding: gzip"))


def cut_request(where: float) -> Fault:
    def strike(exchange: Exchange) -> None:
        announced = exchange.request.announced_bytes
        if not announced:
            exchange.send(exchange.forward())
            return
        exchange.read_body(min(int(announced * where), announced - 1))
        exchange.forward()
        exchange.reset()

    return strike


def corrupt_request(where: float) -> Fault:
    def strike(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.request.body = _with_a_flip(exchange.request.body, where)
        exchange.send(exchange.forward())

    return strike


def _with_a_flip(body: bytes, where: float) -> bytes:
    if not body:
        return body
    at = min(int(len(body) * where), len(body) - 1)
    return body[:at] + bytes([body[at] ^ 0x20]) + body[at + 1 :]


def _retry_after_date() -> bytes:
    return b"Retry-After: " + email.utils.formatdate(time.time(), usegmt=True).encode()


def respond_with_temporary_status(exchange: Exchange) -> None:
    """Respond with one of the temporary statuses after the other."""
    status = TEMPORARY_STATUSES[exchange.number % len(TEMPORARY_STATUSES)]
    respond_with(status)(exchange)


TEMPORARY_STATUSES = (500, 502, 503, 504, 408, 425, 429)
PLACES = {"its first byte": 0.0, "the middle": 0.5, "its last byte": 1.0}
KINDS = (
    FaultKind("reset at once", reset_at_once),
    FaultKind("closed without a response", close_at_once),
    FaultKind("no response", never_respond, is_seen=False),
    FaultKind("garbage as a response", send_garbage, is_seen=False),
    FaultKind("the response is lost", lose_response, hides_response=True),
    FaultKind("sent twice", send_twice, hides_response=True),
    FaultKind("the head is cut", cut_head, hides_response=True),
    FaultKind("slow", respond_slowly, is_seen=False),
    FaultKind("temporary server error", respond_with_temporary_status, is_seen=False),
    FaultKind(
        "throttled for seconds",
        respond_with(429, "TOOMANYREQUESTS", lambda: b"Retry-After: 0"),
        is_seen=False,
    ),
    FaultKind(
        "throttled until a date",
        respond_with(429, "TOOMANYREQUESTS", _retry_after_date),
        is_seen=False,
    ),
    FaultKind("denied", respond_with(403, "DENIED"), passes=False),
    FaultKind("unknown", respond_with(404, "MANIFEST_UNKNOWN"), passes=False, is_seen=False),
    FaultKind("unsupported", respond_with(405, "UNSUPPORTED"), passes=False, is_seen=False),
    FaultKind("unauthorized", respond_with(401, "UNAUTHORIZED"), passes=False, is_seen=False),
    FaultKind("redirected to itself", redirect_to_itself, passes=False, is_seen=False),
    *(
        FaultKind(
            f"the response's body is cut at {place}",
            cut_body(where),
            hides_response=True,
            needs="response",
            is_seen=False,
        )
        for place, where in PLACES.items()
    ),
    FaultKind(
        "the response's body is cut by a reset",
        cut_body(0.5, by_reset=True),
        hides_response=True,
        needs="response",
        is_seen=False,
    ),
    FaultKind(
        "the response's body stalls",
        cut_body(0.5, stalls=True),
        hides_response=True,
        needs="response",
        is_seen=False,
    ),
    *(
        FaultKind(
            f"the response's body is corrupt at {place}",
            corrupt_body(where),
            passes=False,
            needs="response",
            is_seen=False,
        )
        for place, where in PLACES.items()
    ),
    FaultKind(
        "the response is longer",
        announce_other_length(3),
        passes=False,
        needs="response",
        is_seen=False,
    ),
    FaultKind(
        "the response is shorter",
        announce_other_length(-1),
        passes=False,
        needs="response",
        is_seen=False,
    ),
    FaultKind(
        "an encoding that was not accepted",
        claim_gzip,
        passes=False,
        hides_response=True,
        is_seen=False,
    ),
    *(
        FaultKind(f"the request's body is cut at {place}", cut_request(where), needs="request")
        for place, where in PLACES.items()
    ),
    *(
        FaultKind(
            f"the request's body is corrupt at {place}",
            corrupt_request(where),
            passes=False,
            needs="request",
        )
        for place, where in PLACES.items()
    ),
)
