from __future__ import annotations

import os
from pathlib import Path

import pytest
from benchmarks import programs
from benchmarks.programs import CopyError, launch
from tests.waiting import wait_until

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def test_a_command_has_a_usage(tmp_path: Path) -> None:
    usage = launch(["true"], ENVIRONMENT, tmp_path / "true.log")
    assert usage.wall_seconds > 0
    assert usage.peak_bytes > 0


def test_a_failed_command_is_reported_with_its_last_line(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo first; echo access denied >&2; exit 3"]
    with pytest.raises(CopyError, match=r"^sh failed with 3: access denied$"):
        launch(command, ENVIRONMENT, tmp_path / "sh.log")


def test_a_command_that_does_not_end_is_killed_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_MOST_SECONDS", 1)
    duration = f"600.{os.getpid()}"
    command = ["sh", "-c", f"sleep {duration} & wait"]
    with pytest.raises(CopyError, match="sh did not end within 1 s"):
        launch(command, ENVIRONMENT, tmp_path / "sh.log")
    wait_until(lambda: not is_running(duration))


def is_running(argument: str) -> bool:
    """Whether a process that was not killed has this argument, whoever collects it."""
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if argument.encode() in command_line.read_bytes():
                return True
        except OSError:
            continue  # it has just ended
    return False
