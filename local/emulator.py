"""The Lambda runtime interface emulator, as a context manager."""

from __future__ import annotations

import http.client
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from local.ports import ReservedPort

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_INVOCATIONS: Final = "/2015-03-31/functions/function/invocations"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0


class EmulatorError(Exception):
    """The emulator is not installed, does not start, or sent no response."""


class FunctionError(Exception):
    """The function raised an exception. `kind` is its class name."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class FunctionTimeoutError(Exception):
    """The function timed out."""


def find_emulator() -> Path:
    """Return the emulator's file: the value of LAMBDA_RIE, else the file installed with `sam`.

    Raises
    ------
    EmulatorError
        Neither exists.
    """
    if named := os.environ.get("LAMBDA_RIE"):
        return Path(named)
    sam = shutil.which("sam")
    if sam is None:
        raise EmulatorError("sam is not on the PATH: run `make test`, or set LAMBDA_RIE")
    machine = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"
    installed = f"lib/python3.*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}"
    prefix = Path(sam).resolve().parents[1]
    for program in prefix.glob(installed):
        return program
    raise EmulatorError(f"{prefix}/{installed} does not exist: set LAMBDA_RIE to the emulator")


class LambdaEmulator:
    """A function in Lambda's emulator: handles one event at a time and is killed at its timeout.

    Parameters
    ----------
    code
        The function's task root.
    handler
        As in the template.
    runtime
        The command that runs the handler, which is its last argument.
    environment
        The function's variables. Of this process's variables only PATH is passed on.
    timeout_seconds, memory_megabytes, name
        The function's settings. The timeout includes the start of its process, unlike Lambda's. The
        memory size is not enforced.
    """

    def __init__(
        self,
        code: Path,
        *,
        handler: str = "app.lambda_handler",
        runtime: Sequence[str] = (sys.executable, "-m", "awslambdaric"),
        environment: Mapping[str, str] | None = None,
        timeout_seconds: int = 300,
        memory_megabytes: int = 512,
        name: str = "replicator",
    ) -> None:
        self._code = code
        self._command = (*runtime, handler)
        self._timeout_seconds = timeout_seconds
        self._environment = {
            "PATH": os.environ["PATH"],
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "PYTHONPATH": str(code),
            **(environment or {}),
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_seconds),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_megabytes),
        }
        self._port = 0
        self._reserved: list[ReservedPort] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._log = Path()

    def __enter__(self) -> Self:
        program = find_emulator()
        # the emulator cannot report a port that the kernel chose
        self._reserved = [ReservedPort(), ReservedPort()]
        self._port, runtime_port = (each.number for each in self._reserved)
        descriptor, path = tempfile.mkstemp(prefix="lambda-emulator-", suffix=".log")
        self._log = Path(path)
        with os.fdopen(descriptor, "wb") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    "--runtime-interface-emulator-address",
                    f"127.0.0.1:{self._port}",
                    "--runtime-api-address",
                    f"127.0.0.1:{runtime_port}",
                    *self._command,
                ],
                cwd=self._code,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_listening(self._process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            _end_session(self._process)
            self._process = None
        for port in self._reserved:
            port.close()
        self._log.unlink(missing_ok=True)

    @property
    def log(self) -> str:
        """The output of the function and the emulator. Deleted at the exit."""
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The process ID of the function. The first event starts the process.

        Raises
        ------
        EmulatorError
            The function is not running.
        """
        emulator = self._process.pid if self._process is not None else 0
        tasks = Path(f"/proc/{emulator}/task").glob("*/children")
        found = [int(child) for task in tasks for child in task.read_text().split()]
        if len(found) != 1:
            raise EmulatorError(f"the function has {len(found)} processes")
        return found[0]

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """Invoke the function with an event and return its result.

        Raises
        ------
        FunctionError
            The function raised an exception.
        FunctionTimeoutError
            The function took longer than its timeout.
        EmulatorError
            The emulator sent no readable response; the message has the log.
        """
        # the first event also waits for the function's imports
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=self._timeout_seconds + 30
        )
        try:
            connection.request("POST", _INVOCATIONS, body=json.dumps(event))
            body = connection.getresponse().read()
        except OSError as error:
            raise EmulatorError(f"no response: {error}\n{self.log}") from error
        finally:
            connection.close()
        if body.startswith(b"Task timed out"):
            raise FunctionTimeoutError(body.decode())
        try:
            response = json.loads(body)
        except ValueError as error:
            raise EmulatorError(f"not JSON: {body!r}\n{self.log}") from error
        if isinstance(response, dict) and {"errorType", "errorMessage"} <= response.keys():
            raise FunctionError(response["errorType"], response["errorMessage"])
        return response

    def _wait_until_listening(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            if process.poll() is not None:
                raise EmulatorError(f"the emulator ended with {process.returncode}:\n{self.log}")
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=1)
            try:
                # an unknown path: an invocation would start the function
                connection.request("GET", "/")
                connection.getresponse().read()
            except OSError:
                time.sleep(0.02)
            else:
                return
            finally:
                connection.close()
        raise EmulatorError(f"the emulator does not listen on {self._port}:\n{self.log}")


def _end_session(leader: subprocess.Popen[bytes]) -> None:
    """Stop the emulator and its children. The runtime has a separate process group."""
    started = _process_groups(leader.pid)
    leader.terminate()
    try:
        leader.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        leader.kill()
        leader.wait()
    for group in started | _process_groups(leader.pid):
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _process_groups(session: int) -> set[int]:
    groups = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # after the name, which can contain spaces: state, parent, group, session
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # the process has just ended
        if int(fields[3]) == session:
            groups.add(int(fields[2]))
    return groups
