from __future__ import annotations

import os
from pathlib import Path

import pytest
from benchmarks import programs
from benchmarks.programs import CopyError, launch
from tests.waiting import wait_until

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def test_the_usage_of_a_command_is_measured(tmp_path: Path) -> None:
    usage = launch(["true"], ENVIRONMENT, tmp_path / "true.log")
    assert usage.wall_seconds > 0
    assert usage.peak_bytes > 0


def test_the_error_for_a_failed_command_has_its_last_output_line(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo first; echo access denied >&2; exit 3"]
    with pytest.raises(CopyError, match=r"^sh failed with 3: access denied$"):
        launch(command, ENVIRONMENT, tmp_path / "sh.log")


def test_a_command_that_exceeds_its_timeout_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_MOST_SECONDS", 1)
    duration = f"600.{os.getpid()}"
    command = ["sh", "-c", f"sleep {duration} & wait"]
    with pytest.raises(CopyError, match="sh did not end within 1 s"):
        launch(command, ENVIRONMENT, tmp_path / "sh.log")
    wait_until(lambda: not is_running(duration))


def is_running(argument: str) -> bool:
    """Return whether a running process has this argument."""
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if argument.encode() in command_line.read_bytes():
                return True
        except OSError:
            continue  # the process has ended
    return False
