from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from local.emulator import (
    EmulatorError,
    FunctionError,
    FunctionTimeoutError,
    LambdaEmulator,
    find_emulator,
)
from tests.waiting import wait_until

#: What the emulator logs when it starts a process of the function.
_COLD_START = "INIT START"
_FUNCTION = """\
import os
import time

invocations = 0


def lambda_handler(event, context):
    global invocations
    invocations += 1
    print("logged", event.get("log"))
    time.sleep(event.get("sleep_seconds", 0))
    if "fail" in event:
        raise ValueError(event["fail"])
    return {
        "invocations": invocations,
        "memory": context.memory_limit_in_mb,
        "name": context.function_name,
        "pid": os.getpid(),
        "remaining_ms": context.get_remaining_time_in_millis(),
        "variables": dict(os.environ),
    }
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(_FUNCTION)
    return tmp_path


def test_a_function_stays_warm_between_events(code: Path) -> None:
    with LambdaEmulator(code) as emulator:
        first, second = emulator.invoke({}), emulator.invoke({})
        assert emulator.log.count(_COLD_START) == 1
    assert (first["invocations"], second["invocations"]) == (1, 2)


def test_a_function_has_its_environment_variables(code: Path) -> None:
    with LambdaEmulator(
        code,
        timeout_seconds=700,
        memory_megabytes=300,
        name="copier",
        environment={"COLOUR": "red"},
    ) as emulator:
        settings = emulator.invoke({})
    assert settings["memory"] == "300"
    assert settings["name"] == "copier"
    # less what a slow machine needs to start the process; the default is 300 s
    assert 300_000 < settings["remaining_ms"] <= 700_000
    assert settings["variables"]["COLOUR"] == "red"


def test_a_function_does_not_inherit_environment_variables(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "of the developer")
    with LambdaEmulator(code) as emulator:
        assert "A_SECRET" not in emulator.invoke({})["variables"]


def test_a_function_is_killed_at_its_timeout_and_restarts_cold(code: Path) -> None:
    with LambdaEmulator(code, timeout_seconds=1) as emulator:
        with pytest.raises(FunctionTimeoutError, match=r"1\.00 seconds"):
            emulator.invoke({"sleep_seconds": 600})
        assert emulator.log.count(_COLD_START) == 1
        with pytest.raises(EmulatorError, match="0 processes"):
            _ = emulator.pid
        # a slow machine takes longer than the timeout to start the process
        with contextlib.suppress(FunctionTimeoutError):
            emulator.invoke({})
        assert emulator.log.count(_COLD_START) == 2


def test_an_exception_of_the_function_is_raised_with_its_class_name(code: Path) -> None:
    with (
        LambdaEmulator(code) as emulator,
        pytest.raises(FunctionError, match="no such tag") as raised,
    ):
        emulator.invoke({"fail": "no such tag"})
    assert raised.value.kind == "ValueError"


def test_the_output_of_the_function_is_in_the_log(code: Path) -> None:
    with LambdaEmulator(code) as emulator:
        emulator.invoke({"log": "something to find"})
        assert "logged something to find" in emulator.log


def test_all_processes_end_with_the_context(code: Path) -> None:
    with LambdaEmulator(code) as emulator:
        pid = emulator.invoke({})["pid"]
        os.kill(pid, 0)
    # the process exists until its parent reaps it
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_the_error_for_a_missing_emulator_has_the_install_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LAMBDA_RIE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulatorError, match="make test"):
        find_emulator()


def test_an_emulator_that_exits_at_once_is_an_error(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDA_RIE", "/bin/false")
    with pytest.raises(EmulatorError, match="ended with 1"), LambdaEmulator(code):
        pass
