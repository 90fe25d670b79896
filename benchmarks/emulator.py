"""A function as Lambda runs it: its runtime's process under the runtime interface emulator."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from benchmarks.usage import children

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_ROOT: Final = Path(__file__).parent.parent
_PATTERN: Final = ".venv-sam/lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-x86_64"
_PATH: Final = "/2015-03-31/functions/function/invocations"
_START_SECONDS: Final = 10.0
_INVOCATION_SECONDS: Final = 600.0


class EmulatorError(RuntimeError):
    """The emulator, or the function in it, did not do what it must."""


class Emulator:
    """One execution environment; the function's process is made by the first invocation.

    Parameters
    ----------
    command
        The runtime and the function's handler.
    environment
        The function's.
    directory
        The function's working directory.
    log
        Takes what emulator and function write.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        log: Path,
    ) -> None:
        self._port, runtime_port = free_port(), free_port()
        self._log = log
        arguments = [
            str(find_emulator()),
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{self._port}",
            "--runtime-api-address",
            f"127.0.0.1:{runtime_port}",
            "--log-level",
            "error",
            *command,
        ]
        bounds = {"AWS_LAMBDA_FUNCTION_TIMEOUT": str(int(_INVOCATION_SECONDS))}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                arguments,
                cwd=directory,
                env={"PATH": os.environ["PATH"], **bounds, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_for_port(self._port, self._process)

    @property
    def pid(self) -> int:
        """The function's own process.

        Raises
        ------
        EmulatorError
            It was not invoked yet, or its process has died.
        """
        found = children(self._process.pid)
        if len(found) != 1:
            message = f"the function has {len(found)} processes; see {self._log}"
            raise EmulatorError(message)
        return found[0]

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """Send an event and give the function's return value.

        Raises
        ------
        EmulatorError
            The function raised an error or its process ended.
        """
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=_INVOCATION_SECONDS
        )
        try:
            connection.request("POST", _PATH, json.dumps(event))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        answer = json.loads(content) if content else None
        if response.status != 200 or (isinstance(answer, dict) and "errorType" in answer):
            message = f"the function failed: {content[:500]!r}; see {self._log}"
            raise EmulatorError(message)
        return answer

    def close(self) -> None:
        """End the function and the emulator."""
        self._process.terminate()
        self._process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def find_emulator() -> Path:
    """Give the emulator's program, which is in the wheel of the SAM command line.

    Raises
    ------
    EmulatorError
        It was not installed.
    """
    found = sorted(_ROOT.glob(_PATTERN))
    if not found:
        message = f"there is no {_PATTERN}; `make bench` installs it"
        raise EmulatorError(message)
    return found[0]


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process that was just started listens.

    Raises
    ------
    EmulatorError
        It ended, or did not listen in good time.
    """
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    message = f"{process.args!r} does not listen on port {port}"
    raise EmulatorError(message)
