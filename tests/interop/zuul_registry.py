"""zuul-registry from PyPI on loopback, in a separate environment."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final, Self

from local.ports import ReservedPort
from tests.interop.registries import PASSWORD, USER
from tests.programs import find_program

_START_SECONDS: Final = 60.0
_CONFIGURATION: Final = """\
registry:
  address: 127.0.0.1
  port: {port}
  public-url: http://127.0.0.1:{port}
  secret: of-a-test
  users:
    - name: {user}
      pass: {password}
      access: write
  storage:
    driver: filesystem
    root: {directory}/data
"""


class ZuulRegistry:
    """A registry with anonymous pulls, where USER with PASSWORD can push."""

    def __init__(self) -> None:
        self._directory = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._port: ReservedPort | None = None
        self.host = ""
        """Host and port as in image references: ``127.0.0.1:PORT``."""

    def __enter__(self) -> Self:
        program = find_program("zuul-registry", "make registries")
        self._directory = Path(tempfile.mkdtemp(prefix="zuul-registry-"))
        self._port = ReservedPort()
        port = self._port.number
        configuration = self._directory / "registry.yaml"
        configuration.write_text(
            _CONFIGURATION.format(
                port=port, user=USER, password=PASSWORD, directory=self._directory
            )
        )
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, "-c", configuration],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.host = f"127.0.0.1:{port}"
        try:
            wait_for_http(self.host, self._process, self._directory / "log")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._port is not None:
            self._port.close()
        shutil.rmtree(self._directory, ignore_errors=True)


def wait_for_http(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a program accepts connections.

    Raises
    ------
    RuntimeError
        The program ended, or does not accept connections within a minute. The message has its log.
    """
    end = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        connection = http.client.HTTPConnection(host, timeout=_START_SECONDS)
        try:
            connection.connect()
        except OSError:
            time.sleep(0.05)
        else:
            return
        finally:
            connection.close()
    written = log.read_text(errors="replace") if log.exists() else ""
    raise RuntimeError(f"{process.args!r} does not listen at {host}:\n{written}")
