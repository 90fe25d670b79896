"""What can happen to an exchange. Each fault deals with one, and says what may come of it."""

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
    """A fault with its name and what is expected.

    `passes`: once, it must not keep the image from arriving. `keeps_answer`: the replicator never
    learns what the registry answered, so that it cannot cancel an upload which that opened.
    `needs`: the body that it spoils; an exchange without one is as good as untouched. `is_seen`:
    the registry behind takes part in it. `stalls`: it takes a stall timeout to be noticed.
    """

    name: str
    strike: Fault
    passes: bool = True
    keeps_answer: bool = False
    needs: Literal["", "request", "answer"] = ""
    is_seen: bool = True
    stalls: bool = False

    def can_strike(self, record: Record) -> bool:
        wanted = {
            "": True,
            "request": record.request_bytes > 0,
            "answer": record.answer_bytes > 0,
        }
        return wanted[self.needs]


def reset_at_once(exchange: Exchange) -> None:
    exchange.reset()


def close_at_once(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.close()


def never_answer(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.wait_for_client_to_go()


def answer_garbage(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.client.sendall(b"\x16\x03 what is this\r\n\r\n")
    exchange.close()


def lose_answer(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.forward()
    exchange.reset()


def send_twice(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.forward()
    exchange.send(exchange.forward())


def cut_head(exchange: Exchange) -> None:
    exchange.read_body()
    answer = exchange.forward()
    exchange.client.sendall(answer.head[: len(answer.head) // 2])
    exchange.close()


def answer_slowly(exchange: Exchange) -> None:
    exchange.read_body()
    answer = exchange.forward()
    time.sleep(0.02)
    exchange.client.sendall(answer.head[:20])
    time.sleep(0.02)
    exchange.client.sendall(answer.head[20:])
    half = len(answer.body) // 2
    exchange.client.sendall(answer.body[:half])
    time.sleep(0.02)
    exchange.client.sendall(answer.body[half:])


def trickle_at(bytes_per_second: int) -> Fault:
    """Pass an answer on at a rate, fifty times a second."""
    step = bytes_per_second // 50

    def strike(exchange: Exchange) -> None:
        exchange.read_body()
        answer = exchange.forward()
        exchange.client.sendall(answer.head)
        for at in range(0, len(answer.body), step):
            exchange.client.sendall(answer.body[at : at + step])
            time.sleep(1 / 50)

    return strike


def answer_status(status: int, code: str = "", header: Callable[[], bytes] | None = None) -> Fault:
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
        answer = exchange.forward()
        if not answer.body:
            exchange.send(answer)
            return
        exchange.send(answer, min(int(len(answer.body) * where), len(answer.body) - 1))
        if stalls:
            exchange.wait_for_client_to_go()
        elif by_reset:
            exchange.reset()
        else:
            exchange.close()

    return strike


def corrupt_body(where: float) -> Fault:
    def strike(exchange: Exchange) -> None:
        exchange.read_body()
        answer = exchange.forward()
        exchange.send(Message(answer.head, _with_a_flip(answer.body, where)))

    return strike


def announce_other_length(difference: int) -> Fault:
    """Lie about the length of a body: the bytes that are too many come, or those too few do not."""

    def strike(exchange: Exchange) -> None:
        exchange.read_body()
        answer = exchange.forward()
        if answer.body:
            answer.body = (answer.body + b" " * 16)[: len(answer.body) + difference]
            answer = answer.announcing(len(answer.body))
        exchange.send(answer)

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


def answer_a_passing_status(exchange: Exchange) -> None:
    """Answer another of the statuses that pass for each request."""
    status = PASSING_STATUSES[exchange.number % len(PASSING_STATUSES)]
    answer_status(status)(exchange)


PASSING_STATUSES = (500, 502, 503, 504, 408, 425, 429)
PLACES = {"its first byte": 0.0, "the middle": 0.5, "its last byte": 1.0}
KINDS = (
    FaultKind("reset at once", reset_at_once),
    FaultKind("closed without an answer", close_at_once),
    FaultKind("no answer ever", never_answer, is_seen=False, stalls=True),
    FaultKind("garbage for an answer", answer_garbage, is_seen=False),
    FaultKind("the answer is lost", lose_answer, keeps_answer=True),
    FaultKind("sent twice", send_twice, keeps_answer=True),
    FaultKind("the head is cut", cut_head, keeps_answer=True),
    FaultKind("slow", answer_slowly, is_seen=False),
    FaultKind("a server in passing trouble", answer_a_passing_status, is_seen=False),
    FaultKind(
        "throttled for seconds",
        answer_status(429, "TOOMANYREQUESTS", lambda: b"Retry-After: 0"),
        is_seen=False,
    ),
    FaultKind(
        "throttled until a date",
        answer_status(429, "TOOMANYREQUESTS", _retry_after_date),
        is_seen=False,
    ),
    FaultKind("denied", answer_status(403, "DENIED"), passes=False),
    FaultKind("unknown", answer_status(404, "MANIFEST_UNKNOWN"), passes=False, is_seen=False),
    FaultKind("unsupported", answer_status(405, "UNSUPPORTED"), passes=False, is_seen=False),
    FaultKind("unauthorized", answer_status(401, "UNAUTHORIZED"), passes=False, is_seen=False),
    FaultKind("redirected to itself", redirect_to_itself, passes=False, is_seen=False),
    *(
        FaultKind(
            f"the answer's body is cut at {place}",
            cut_body(where),
            keeps_answer=True,
            needs="answer",
            is_seen=False,
        )
        for place, where in PLACES.items()
    ),
    FaultKind(
        "the answer's body is cut by a reset",
        cut_body(0.5, by_reset=True),
        keeps_answer=True,
        needs="answer",
        is_seen=False,
    ),
    FaultKind(
        "the answer's body stalls",
        cut_body(0.5, stalls=True),
        keeps_answer=True,
        needs="answer",
        is_seen=False,
        stalls=True,
    ),
    *(
        FaultKind(
            f"the answer's body is corrupt at {place}",
            corrupt_body(where),
            passes=False,
            needs="answer",
            is_seen=False,
        )
        for place, where in PLACES.items()
    ),
    FaultKind(
        "the answer is longer",
        announce_other_length(3),
        passes=False,
        needs="answer",
        is_seen=False,
    ),
    FaultKind(
        "the answer is shorter",
        announce_other_length(-1),
        passes=False,
        needs="answer",
        is_seen=False,
    ),
    FaultKind(
        "an encoding nobody asked for",
        claim_gzip,
        passes=False,
        keeps_answer=True,
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
