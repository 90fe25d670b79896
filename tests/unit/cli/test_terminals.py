"""Output on terminals: narrow ones, dumb ones, and text that looks like markup."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest

from ecr_image_replicator.cli.mirror_display import MirrorLines
from ecr_image_replicator.cli.progress_bars import opened_bars
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import Descriptor

COLUMNS = 20
BLOB = Descriptor("application/octet-stream", Digest.of(b""), 1 << 30)


@pytest.fixture
def narrow_terminal() -> Iterator[tuple[TextIO, int]]:
    """A terminal, and the descriptor that reads what is written to it."""
    reading, writing = os.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    with os.fdopen(writing, "w") as stream:
        yield stream, reading
    os.close(reading)


def shown_status(stream: TextIO, reading: int) -> str:
    times = iter(range(0, 1000, 10))
    display = MirrorLines(stream, clock=lambda: next(times))
    progress = display.image_progress()
    progress.advance(BLOB, 5 << 30)
    return os.read(reading, 1000).decode()


def test_a_status_fits_into_one_row_of_the_terminal(
    narrow_terminal: tuple[TextIO, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    status = shown_status(*narrow_terminal)
    assert status == "\r\x1b[K" + "0 of 0 images, 5.0 GiB"[: COLUMNS - 1]


def test_a_dumb_terminal_gets_whole_lines(
    narrow_terminal: tuple[TextIO, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    status = shown_status(*narrow_terminal)
    assert status.startswith("0 of 0 images, 5.0 GiB, ")
    assert status.endswith("/s\r\n")
    assert "\x1b" not in status


def test_a_tag_is_not_replaced_by_an_emoji() -> None:
    stream = io.StringIO()
    with opened_bars(stream) as bars:
        bars.show("cannot pull example.com/app:fire: timed out")
    assert "cannot pull example.com/app:fire: timed out\n" in stream.getvalue()
