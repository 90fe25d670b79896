"""The injected faults: their effect on an exchange and the allowed results."""

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
    """A fault with its name and the allowed results.

    Attributes
    ----------
    passes
        The copy succeeds if the fault occurs once.
    hides_response
        The replicator does not receive the response, so it cannot cancel an upload session
        that the request opened.
    needs
        The body that the fault changes. An exchange without such a body is forwarded unchanged.
    reaches_registry
        The fault involves the registry: it is also tested with other registries.
    """

    name: str
    inject: Fault
    passes: bool = True
    hides_response: bool = False
    needs: Literal["", "request", "response"] = ""
    reaches_registry: bool = True

    def applies_to(self, record: Record) -> bool:
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
    def inject(exchange: Exchange) -> None:
        exchange.read_body()
        content = json.dumps({"errors": [{"code": code, "message": "a fault"}]}).encode()
        body = b"" if exchange.request.method == "HEAD" else content
        lines = [b"HTTP/1.1 %d Fault" % status, b"Content-Length: %d" % len(content)]
        lines += [header()] if header else []
        exchange.send(Message(b"\r\n".join([*lines, b"", b""]), body))

    return inject


def redirect_to_itself(exchange: Exchange) -> None:
    exchange.read_body()
    location = exchange.request.target.encode()
    exchange.send(
        Message(b"HTTP/1.1 307 Fault\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")
    )


def cut_body(where: float, *, by_reset: bool = False, stalls: bool = False) -> Fault:
    def inject(exchange: Exchange) -> None:
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

    return inject


def corrupt_body(where: float) -> Fault:
    def inject(exchange: Exchange) -> None:
        exchange.read_body()
        response = exchange.forward()
        exchange.send(Message(response.head, _with_changed_byte(response.body, where)))

    return inject


def announce_other_length(difference: int) -> Fault:
    """Send a Content-Length and a body with more or fewer bytes."""

    def inject(exchange: Exchange) -> None:
        exchange.read_body()
        response = exchange.forward()
        if response.body:
            response.body = (response.body + b" " * 16)[: len(response.body) + difference]
            response = response.announcing(len(response.body))
        exchange.send(response)

    return inject


def claim_gzip(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.send(exchange.forward().with_header(b"Content-Encoding: gzip"))


def cut_request(where: float) -> Fault:
    def inject(exchange: Exchange) -> None:
        announced = exchange.request.announced_bytes
        if not announced:
            exchange.send(exchange.forward())
            return
        exchange.read_body(min(int(announced * where), announced - 1))
        exchange.forward()
        exchange.reset()

    return inject


def corrupt_request(where: float) -> Fault:
    def inject(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.request.body = _with_changed_byte(exchange.request.body, where)
        exchange.send(exchange.forward())

    return inject


def _with_changed_byte(body: bytes, where: float) -> bytes:
    if not body:
        return body
    at = min(int(len(body) * where), len(body) - 1)
    return body[:at] + bytes([body[at] ^ 0x20]) + body[at + 1 :]


def _retry_after_date() -> bytes:
    return b"Retry-After: " + email.utils.formatdate(time.time(), usegmt=True).encode()


def respond_with_temporary_status(exchange: Exchange) -> None:
    """Respond with each of the temporary statuses in turn."""
    status = TEMPORARY_STATUSES[exchange.number % len(TEMPORARY_STATUSES)]
    respond_with(status)(exchange)


TEMPORARY_STATUSES = (500, 502, 503, 504, 408, 425, 429)
PLACES = {"its first byte": 0.0, "the middle": 0.5, "its last byte": 1.0}
KINDS = (
    FaultKind("reset at once", reset_at_once),
    FaultKind("closed without a response", close_at_once),
    FaultKind("no response", never_respond, reaches_registry=False),
    FaultKind("garbage as a response", send_garbage, reaches_registry=False),
    FaultKind("the response is lost", lose_response, hides_response=True),
    FaultKind("sent twice", send_twice, hides_response=True),
    FaultKind("the head is cut", cut_head, hides_response=True),
    FaultKind("slow", respond_slowly, reaches_registry=False),
    FaultKind("temporary server error", respond_with_temporary_status, reaches_registry=False),
    FaultKind(
        "throttled for seconds",
        respond_with(429, "TOOMANYREQUESTS", lambda: b"Retry-After: 0"),
        reaches_registry=False,
    ),
    FaultKind(
        "throttled until a date",
        respond_with(429, "TOOMANYREQUESTS", _retry_after_date),
        reaches_registry=False,
    ),
    FaultKind("denied", respond_with(403, "DENIED"), passes=False),
    FaultKind(
        "unknown", respond_with(404, "MANIFEST_UNKNOWN"), passes=False, reaches_registry=False
    ),
    FaultKind(
        "unsupported", respond_with(405, "UNSUPPORTED"), passes=False, reaches_registry=False
    ),
    FaultKind(
        "unauthorized", respond_with(401, "UNAUTHORIZED"), passes=False, reaches_registry=False
    ),
    FaultKind("redirected to itself", redirect_to_itself, passes=False, reaches_registry=False),
    *(
        FaultKind(
            f"the response's body is cut at {place}",
            cut_body(where),
            hides_response=True,
            needs="response",
            reaches_registry=False,
        )
        for place, where in PLACES.items()
    ),
    FaultKind(
        "the response's body is cut by a reset",
        cut_body(0.5, by_reset=True),
        hides_response=True,
        needs="response",
        reaches_registry=False,
    ),
    FaultKind(
        "the response's body stalls",
        cut_body(0.5, stalls=True),
        hides_response=True,
        needs="response",
        reaches_registry=False,
    ),
    *(
        FaultKind(
            f"the response's body is corrupt at {place}",
            corrupt_body(where),
            passes=False,
            needs="response",
            reaches_registry=False,
        )
        for place, where in PLACES.items()
    ),
    FaultKind(
        "the response is longer",
        announce_other_length(3),
        passes=False,
        needs="response",
        reaches_registry=False,
    ),
    FaultKind(
        "the response is shorter",
        announce_other_length(-1),
        passes=False,
        needs="response",
        reaches_registry=False,
    ),
    FaultKind(
        "an encoding that was not accepted",
        claim_gzip,
        passes=False,
        hides_response=True,
        reaches_registry=False,
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
