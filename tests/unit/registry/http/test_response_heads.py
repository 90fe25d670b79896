from __future__ import annotations

import email.parser
import http.client
import io
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from ecr_image_replicator.registry.http.response_heads import (
    MAX_HEAD_BYTES,
    MalformedHeadError,
    OversizedHeadError,
    WholeHeadResponse,
)


class _Socket:
    """A socket with the bytes of a response."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._content)


def _read(content: bytes) -> WholeHeadResponse:
    connected: Any = _Socket(content)
    response = WholeHeadResponse(connected, method="GET")
    response.begin()
    return response


_NAMES = st.text("abcXYZ019-_!#$%&'*+.^`|~", min_size=1, max_size=12)
_VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
_LINES = st.one_of(
    st.tuples(_NAMES, _VALUES).map(lambda each: f"{each[0]}: {each[1]}"),
    st.sampled_from(["", " folded", "\tfolded", "no header", ": none", "Content-Length: 3", "a:b"]),
    st.text(st.characters(max_codepoint=0xFF), max_size=20),
)


@given(st.lists(_LINES, max_size=6), st.sampled_from(["\r\n", "\n", "\r"]))
@example(["Content-Length: 3", "Content-Length: 4"], "\r\n")
def test_arbitrary_bytes_are_a_response_head_or_a_known_error(lines: list[str], end: str) -> None:
    content = end.join(["HTTP/1.1 200 OK", *lines, "", "abc"]).encode("iso-8859-1")
    try:
        response = _read(content)
    except (http.client.HTTPException, MalformedHeadError, OversizedHeadError):
        return
    assert response.status == 200
    assert response.length is None or response.length >= 0


@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=20))
def test_pythons_parser_agrees_on_valid_headers(fields: list[tuple[str, str]]) -> None:
    fields = [
        each
        for each in fields
        if each[0].lower() not in {"content-length", "transfer-encoding", "connection"}
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    found = _read(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode()).headers
    parsed = email.parser.Parser().parsestr(head + "\r\n", headersonly=True)
    assert [(name, value.strip()) for name, value in parsed.items()] == found.items()


def test_a_head_above_the_maximum_size_is_rejected() -> None:
    start = b"HTTP/1.1 200 OK\r\n"
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"x" * 60_000) for n in range(4))
    rest = MAX_HEAD_BYTES - len(start) - len(lines) - len(b"Y: \r\n\r\n")
    _read(start + lines + b"Y: " + b"y" * rest + b"\r\n\r\n")
    try:
        _read(start + lines + b"Y: " + b"y" * (rest + 1) + b"\r\n\r\n")
    except OversizedHeadError:
        return
    raise AssertionError("a larger head was accepted")
