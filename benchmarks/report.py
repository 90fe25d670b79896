"""The results: tables and goals of measured rows, and failures."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from typing import TYPE_CHECKING, Final

from benchmarks.tables import GOAL_HEAD, markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_REASON_CHARACTERS: Final = 200
_LOG_TAIL_CHARACTERS: Final = 2000


class Report:
    """A Markdown report that is printed part by part and written to a file after each part.

    Parameters
    ----------
    title
        The title of the file.
    path
        The path of the file, None to print only.
    """

    def __init__(self, title: str, path: Path | None = None) -> None:
        self._title = title
        self._path = path
        self._parts: list[str] = []
        self._goals: list[tuple[str, ...]] = []
        self._failures: list[str] = []

    def write(self, text: str) -> None:
        """Add a part."""
        self._parts.append(text)
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        self._save()

    def add_goals(self, *lines: tuple[str, ...]) -> None:
        """Add lines to the table of goals."""
        self._goals += lines
        self._save()

    @contextlib.contextmanager
    def attempt(self, name: str, directory: Path | None = None) -> Iterator[None]:
        """Measure a row or a section in the body of `with`. If it fails, report that and continue.

        Parameters
        ----------
        directory
            The directory of logs to print after a failure.
        """
        began_at = time.monotonic()
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a failed row must not prevent the others
            traceback.print_exc()
            if directory is not None:
                _print_logs(directory)
            self._failures.append(name)
            self.write(f"### {name}\n\nNot measured: {describe(error)}\n")
        sys.stderr.write(f"{name}: {time.monotonic() - began_at:.0f} s\n")

    def finish(self) -> int:
        """Print the goals and failures, and return the exit status."""
        sys.stdout.write(self._goal_section())
        for name in self._failures:
            sys.stderr.write(f"FAILED: {name}\n")
        return 1 if self._failures else 0

    def text(self) -> str:
        """Return the whole file, which starts with the goals."""
        return "\n".join([f"# {self._title}\n", self._goal_section(), *self._parts])

    def _goal_section(self) -> str:
        failed = "".join(f"\nNot measured: {name}\n" for name in self._failures)
        return f"## Goals\n\n{markdown_table(GOAL_HEAD, self._goals)}{failed}"

    def _save(self) -> None:
        if self._path is not None:
            self._path.write_text(self.text())


def describe(error: Exception) -> str:
    """Return the class of an error and the first line of its message."""
    first_line = next(iter(str(error).splitlines()), "")[:_REASON_CHARACTERS]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def _print_logs(directory: Path) -> None:
    for log in sorted(directory.glob("*.log")):
        end = log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:]
        sys.stderr.write(f"{log.name}: {end}\n")
