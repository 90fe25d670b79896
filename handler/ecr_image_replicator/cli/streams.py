"""Standard output and standard error, which may be closed, full, or a pipe without a reader."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator


class OutputError(Exception):
    """Standard output cannot be written. The text is the reason."""


def write_output(text: str) -> None:
    """Write lines to standard output, unless it is closed.

    Raises
    ------
    OutputError
        They cannot be written.
    """
    if sys.stdout is None:
        return
    encoding = sys.stdout.encoding or "utf-8"
    try:
        # as standard error does: a locale may lack a character
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError as error:
        _discard(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise OutputError("its reader has ended") from error
        raise OutputError(str(error.strerror)) from error


@contextlib.contextmanager
def optional_messages() -> Iterator[None]:
    """Drop what standard error does not take: a copy goes on without its messages."""
    with contextlib.ExitStack() as stack:
        # None when the descriptor is closed
        stream = sys.stderr or stack.enter_context(open(os.devnull, "w"))  # noqa: PTH123 - no path
        stack.enter_context(contextlib.redirect_stderr(cast("TextIO", _OptionalStream(stream))))
        yield


class _OptionalStream:
    """A stream whose errors are ignored."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, if that is possible."""
        try:
            return self._stream.write(text)
        except OSError:
            _discard(self._stream)
            return len(text)

    def flush(self) -> None:
        """Flush what was written, if that is possible."""
        try:
            self._stream.flush()
        except OSError:
            _discard(self._stream)


def _discard(stream: TextIO) -> None:
    """Lead a stream to the null device: the interpreter flushes it again at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
