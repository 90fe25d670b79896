from __future__ import annotations

import time
from pathlib import Path

import pytest
from benchmarks import programs
from benchmarks.programs import CopyError, launch

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
    pid_file = tmp_path / "pid"
    command = ["sh", "-c", f"echo $$ > {pid_file}; exec sleep 600"]
    with pytest.raises(CopyError, match="sh did not end within 1 s"):
        launch(command, ENVIRONMENT, tmp_path / "sh.log")
    pid = int(pid_file.read_text())
    until = time.monotonic() + 30
    while is_running(pid):
        assert time.monotonic() < until
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether a process exists and was not killed, whoever collects it."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}
