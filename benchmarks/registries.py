"""Two of Debian's docker-registry on tmpfs, over plain HTTP and TLS, with and without delay."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from local.ports import ReservedPort
from local.running import Running

if TYPE_CHECKING:
    from pathlib import Path

    import trustme

ROUND_TRIP_SECONDS: Final = 0.020
_CONFIGURATION: Final = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: {storage}, maxthreads: 200}}
  delete: {{enabled: true}}
http:
  addr: "127.0.0.1:{port}"
{tls}"""
#: Apache's combined format: the request line, the status and the size of the response.
_ACCESS: Final = re.compile(r'"([A-Z]+) (\S+) HTTP/[\d.]+" (\d{3}) (\d+)')
_MARK: Final = "/v2/?mark="
_LOG_SECONDS: Final = 5.0
_START_SECONDS: Final = 10.0


class RegistryLogError(RuntimeError):
    """The access log has no entry for a request."""


class StartError(RuntimeError):
    """A server did not start to listen."""


@dataclass(frozen=True, slots=True)
class Access:
    """A line of an access log."""

    method: str
    path: str
    status: int
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class Network:
    """A network path from the program to the registries."""

    tls: bool
    far: bool

    @property
    def name(self) -> str:
        """The name for the tables."""
        return ("TLS" if self.tls else "plain") + (", 20 ms" if self.far else "")


NETWORKS: Final = tuple(Network(tls, far) for far in (False, True) for tls in (False, True))


def parse_access_log(text: str) -> list[Access]:
    """Parse docker-registry's access log and skip all other lines."""
    return [
        Access(found[1], found[2], int(found[3]), int(found[4]))
        for found in map(_ACCESS.search, text.splitlines())
        if found is not None
    ]


class Registry(Running):
    """A store of images, served by docker-registry over HTTP and TLS, with and without delay.

    Parameters
    ----------
    directory
        A directory on tmpfs for this registry alone.
    authority
        The authority that signs its certificate.
    """

    def __init__(self, directory: Path, authority: trustme.CA) -> None:
        directory.mkdir(parents=True)
        self._context = ssl.create_default_context()
        authority.configure_trust(self._context)
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
        self._directory = directory
        self._servers: dict[bool, _Server] = {}

    def start(self) -> Self:
        """Start the processes.

        Raises
        ------
        StartError
            A process ended or does not listen.
        """
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            for tls in (False, True):
                self._servers[tls] = _Server(self._directory, tls=tls)
            undo.pop_all()
        return self

    def host(self, network: Network) -> str:
        """Return ``host:port`` for a network path."""
        server = self._servers[network.tls]
        return f"127.0.0.1:{server.far_port if network.far else server.port}"

    def connect(self, *, tls: bool = False) -> http.client.HTTPConnection:
        """Open a connection without delay, for requests that are not measured."""
        host = self.host(Network(tls, far=False))
        if tls:
            return http.client.HTTPSConnection(host, context=self._context)
        return http.client.HTTPConnection(host)

    def take_log(self, network: Network) -> list[Access]:
        """Return the requests since the last call, with and without delay.

        Raises
        ------
        RegistryLogError
            The log has no new entries.
        """
        connection = self.connect(tls=network.tls)
        try:
            return self._servers[network.tls].take_log(connection)
        finally:
            connection.close()

    def close(self) -> None:
        """Stop the processes. The files remain."""
        for server in self._servers.values():
            server.close()


class _Server:
    """One docker-registry with its delaying proxy."""

    def __init__(self, directory: Path, *, tls: bool) -> None:
        name = "tls" if tls else "plain"
        self._reserved = ReservedPort(), ReservedPort()
        self.port, self.far_port = (each.number for each in self._reserved)
        self._log = directory / f"{name}.log"
        self._read_bytes = 0
        self._marks = 0
        pem = directory / "server.pem"
        configuration = directory / f"{name}.yml"
        configuration.write_text(
            _CONFIGURATION.format(
                storage=directory / "storage",
                port=self.port,
                tls=f"  tls: {{certificate: {pem}, key: {pem}}}\n" if tls else "",
            )
        )
        with self._log.open("wb") as log:
            self._registry = subprocess.Popen(
                ["docker-registry", "serve", str(configuration)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        way = f"{self.far_port}:{self.port}"
        self._proxy = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.delay", str(ROUND_TRIP_SECONDS), way]
        )
        wait_for_port(self.port, self._registry)
        wait_for_port(self.far_port, self._proxy)

    def take_log(self, connection: http.client.HTTPConnection) -> list[Access]:
        self._marks += 1
        mark = f"{_MARK}{self._marks}"
        connection.request("GET", mark)
        connection.getresponse().read()
        until = time.monotonic() + _LOG_SECONDS
        while time.monotonic() < until:
            with self._log.open("rb") as file:
                file.seek(self._read_bytes)
                content = file.read()
            accesses = parse_access_log(content.decode())
            if any(access.path == mark for access in accesses):
                self._read_bytes += len(content)
                return [access for access in accesses if not access.path.startswith(_MARK)]
            time.sleep(0.002)
        message = f"{self._log} does not go on"
        raise RegistryLogError(message)

    def close(self) -> None:
        for process in (self._proxy, self._registry):
            process.terminate()
            process.wait(10)
        for port in self._reserved:
            port.close()


def wait_for_port(
    port: int, process: subprocess.Popen[bytes], *, seconds: float = _START_SECONDS
) -> None:
    """Wait until a new process listens.

    Raises
    ------
    StartError
        The process ended or did not listen in time.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    message = f"{process.args!r} does not listen on port {port}"
    raise StartError(message)
