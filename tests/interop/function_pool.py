"""Lambda's Invoke API on loopback. Each process of the handler serves one event at a time."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.web import LoopbackServer, Request, Response, read_body

_SCRIPT = Path(__file__).with_name("handler_process.py")
_KILLED = {"errorType": "Runtime.ExitError", "errorMessage": "Runtime exited: signal: killed"}


class _Process:
    def __init__(self, module: str, environment: Mapping[str, str], log: Path) -> None:
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, str(_SCRIPT), module],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.event: dict[str, Any] = {}

    def call(self, event: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """Return the output for an event, or None if the process died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.event = event
        try:
            self._process.stdin.write(json.dumps({"Event": event, "Seconds": seconds}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        line = self._process.stdout.readline()
        response: dict[str, Any] | None = json.loads(line) if line else None
        return response

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                # of an event that the killed process has not read
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._process.wait()
        self._log.close()


class FunctionPool:
    """The processes of a function and an endpoint that invokes it.

    `seconds_of` returns the time limit of an event. `events` lists every event in order.
    """

    def __init__(self, directory: Path, seconds_of: Callable[[dict[str, Any]], float]) -> None:
        self._directory = directory
        self._seconds_of = seconds_of
        self._environment: dict[str, str] = {}
        self._idle: dict[str, list[_Process]] = {"app": [], "responder": []}
        self._busy: list[_Process] = []
        self._lock = threading.Lock()
        self._server = LoopbackServer(self._respond)
        self.url = self._server.url
        self.events: list[dict[str, Any]] = []
        #: Returns whether the process that serves an event is killed immediately.
        self.kills: Callable[[dict[str, Any]], bool] = lambda _: False

    def configure(self, environment: Mapping[str, str]) -> None:
        """Set environment variables of the function; others keep their values."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
        self._environment = {**kept, **paths, **self._environment, **environment}

    def invoke(self, event: dict[str, Any], module: str = "app") -> dict[str, Any]:
        """Invoke the function and return its output, or the error as Lambda reports it."""
        with self._lock:
            self.events.append(event)
            idle = self._idle[module]
            process = idle.pop() if idle else None
        if process is None:
            log = self._directory / f"{module}.log"
            process = _Process(module, self._environment, log)
        with self._lock:
            self._busy.append(process)
            if self.kills(event):
                process.kill()
        response = process.call(event, self._seconds_of(event))
        with self._lock:
            self._busy.remove(process)
            if response is not None:
                self._idle[module].append(process)
        if response is None:
            process.close()
            return {"Error": _KILLED}
        return response

    def kill(self, serves: Callable[[dict[str, Any]], bool]) -> None:
        """Kill the processes whose current event matches."""
        with self._lock:
            for process in self._busy:
                if serves(process.event):
                    process.kill()

    @property
    def is_idle(self) -> bool:
        """Whether no process serves an event."""
        with self._lock:
            return not self._busy

    @property
    def log(self) -> str:
        """The log of the function."""
        return "\n".join(path.read_text() for path in sorted(self._directory.glob("*.log")))

    def _respond(self, request: Request) -> Response:
        event = json.loads(read_body(request, 6 * 1024 * 1024))
        response = self.invoke(event)
        headers = {"x-amzn-RequestId": str(uuid.uuid4()), "Content-Type": "application/json"}
        if "Error" in response:
            headers["X-Amz-Function-Error"] = "Unhandled"
        content = response.get("Error", response.get("Payload"))
        return Response(200, headers, json.dumps(content).encode())

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for process in [*self._busy, *(each for idle in self._idle.values() for each in idle)]:
            process.close()
