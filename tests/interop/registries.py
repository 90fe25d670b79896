"""Debian's docker-registry on loopback, and skopeo."""

from __future__ import annotations

import dataclasses
import http.client
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final, Self

from tests.programs import find_program

#: The only user of a registry that requires a login.
USER: Final = "tester"
PASSWORD: Final = "open-sesame"
_HTPASSWD: Final = f"{USER}:$2b$04$zXBvvWxNdnb1N1JJpemqvucJgFU0qku/E7R.GDuiEnAbXQ/cvv3am\n"
_START_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02
_PROBE: Final = "tests-probe"
_LISTENING: Final = re.compile(r"listening on (127\.0\.0\.1:\d+)")
_COMBINED: Final = re.compile(
    r'\S+ - \S+ \[[^]]+\] "(?P<method>\S+) (?P<target>\S+) \S+" (?P<status>\d{3}) \d+ '
    r'"[^"]*" "(?P<agent>[^"]*)"'
)
_CONFIGURATION: Final = """\
version: 0.1
log:
  level: info
storage:
  filesystem:
    rootdirectory: {directory}/data
  delete:
    enabled: true
  maintenance:
    uploadpurging:
      enabled: false
validation:
  manifests:
    urls:
      allow: ['^https://example\\.com/']
http:
  addr: 127.0.0.1:0
  secret: of-a-test
"""
_TLS: Final = """\
  tls:
    certificate: {certificate}
    key: {key}
"""
_AUTH: Final = """\
auth:
  htpasswd:
    realm: tests
    path: {directory}/htpasswd
"""


@dataclasses.dataclass(frozen=True, slots=True)
class AccessLogEntry:
    """A request of the registry's access log. `query` has no question mark."""

    method: str
    path: str
    query: str
    status: int


class DockerRegistry:
    """A registry with an empty storage in memory that runs while the context is open.

    Parameters
    ----------
    login
        Whether USER and PASSWORD are required, as HTTP Basic.
    certificate, key
        PEM files for TLS.
    """

    def __init__(
        self, *, login: bool = False, certificate: Path | None = None, key: Path | None = None
    ) -> None:
        self._login = login
        self._certificate = certificate
        self._key = key
        self._directory = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._cleared = 0
        self._probes = 0
        self.host = ""
        """Host and port as in image references: ``127.0.0.1:PORT``."""

    def __enter__(self) -> Self:
        program = find_program("docker-registry")
        memory = Path("/dev/shm")  # noqa: S108 - mkdtemp creates a unique directory
        self._directory = Path(
            tempfile.mkdtemp(prefix="docker-registry-", dir=memory if memory.is_dir() else None)
        )
        configuration = self._directory / "config.yml"
        configuration.write_text(self._configuration())
        with self._access_log.open("wb") as out, self._error_log.open("wb") as err:
            self._process = subprocess.Popen(
                [program, "serve", configuration],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        try:
            self.host = self._wait_until_listening(self._process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self._directory)

    @property
    def requests(self) -> list[AccessLogEntry]:
        """Requests since the start or the last `clear_requests`, in order.

        A request is logged when its response ends.
        """
        return self._entries()[self._cleared :]

    def clear_requests(self) -> None:
        """Clear the list of requests."""
        self._cleared = len(self._entries())

    @property
    def _access_log(self) -> Path:
        return self._directory / "access.log"

    @property
    def _error_log(self) -> Path:
        return self._directory / "error.log"

    def _configuration(self) -> str:
        text = _CONFIGURATION
        if self._certificate is not None:
            text += _TLS
        if self._login:
            text += _AUTH
            (self._directory / "htpasswd").write_text(_HTPASSWD)
        return text.format(directory=self._directory, certificate=self._certificate, key=self._key)

    def _wait_until_listening(self, process: subprocess.Popen[bytes]) -> str:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            listening = _LISTENING.search(self._error_log.read_text())
            if listening:
                return listening[1]
            if process.poll() is not None:
                break
            time.sleep(_POLL_SECONDS)
        raise RuntimeError(f"docker-registry does not serve:\n{self._error_log.read_text()}")

    def _entries(self) -> list[AccessLogEntry]:
        """Read the log when the registry is idle and has logged the probe request.

        The response to a large blob may be complete before its request is logged.
        """
        self._probes += 1
        probe = f"{_PROBE}-{self._probes}"
        self._send_probe(probe)
        end = time.monotonic() + _START_SECONDS
        text = ""
        while time.monotonic() < end:
            before, text = text, self._access_log.read_text()
            is_logged = text == before and text.endswith("\n") and f'"{probe}"' in text
            if is_logged and self._is_idle() and self._access_log.read_text() == text:
                break
            time.sleep(_POLL_SECONDS)
        else:
            raise RuntimeError("docker-registry writes no access log")
        entries = []
        for line in text.splitlines():
            match = _COMBINED.fullmatch(line)
            if match is None:
                raise RuntimeError(f"not a line of an access log: {line!r}")
            if match["agent"].startswith(_PROBE):
                continue
            path, _, query = match["target"].partition("?")
            entries.append(AccessLogEntry(match["method"], path, query, int(match["status"])))
        return entries

    def _is_idle(self) -> bool:
        """Return whether all threads of the registry sleep (proc(5), /proc/pid/stat)."""
        assert self._process is not None
        threads = Path(f"/proc/{self._process.pid}/task").iterdir()
        try:
            states = [(each / "stat").read_text().rpartition(") ")[2][:1] for each in threads]
        except OSError:
            return False  # a thread has just ended
        return set(states) == {"S"}

    def _send_probe(self, agent: str) -> None:
        connection = (
            http.client.HTTPConnection(self.host, timeout=_START_SECONDS)
            if self._certificate is None
            else http.client.HTTPSConnection(
                self.host, timeout=_START_SECONDS, context=_unverified()
            )
        )
        try:
            connection.request("GET", "/v2/", headers={"User-Agent": agent})
            connection.getresponse().read()
        finally:
            connection.close()


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def skopeo_copy(source: str, destination: str, *arguments: str) -> None:
    """Copy an image. TLS is not verified.

    Both names have skopeo's syntax: ``docker://HOST/REPOSITORY:TAG``, ``oci:DIRECTORY:NAME``.

    Raises
    ------
    subprocess.CalledProcessError
        `stderr` has skopeo's error message.
    """
    unverified = ("--src-tls-verify=false", "--dest-tls-verify=false")
    _skopeo("copy", *unverified, *arguments, source, destination)


def skopeo_inspect_raw(reference: str, *arguments: str) -> bytes:
    """Read a manifest, byte for byte. TLS is not verified.

    Raises
    ------
    subprocess.CalledProcessError
        `stderr` has skopeo's error message.
    """
    return _skopeo("inspect", "--raw", "--tls-verify=false", *arguments, reference)


def _skopeo(command: str, *arguments: str) -> bytes:
    program = find_program("skopeo")
    with tempfile.TemporaryDirectory(prefix="skopeo-") as home:
        finished = subprocess.run(
            [program, "--insecure-policy", command, *arguments],
            # the tests do not use a developer's logins and mirrors
            env={"PATH": os.environ["PATH"], "HOME": home, "XDG_RUNTIME_DIR": home},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=True,
        )
    return finished.stdout
