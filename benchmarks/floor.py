"""The lower bound for Python, OpenSSL and the kernel: a loop that receives, hashes and sends.

It copies blobs sequentially over one connection per registry, with the minimum of requests,
without threads, libraries and checks other than the digest. As a program
(``python -m benchmarks.floor REPORT ORDER``) it writes the resource usage of the loop, without the
interpreter's start.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import artifact
from benchmarks.tables import FLOOR
from benchmarks.usage import Usage, peak_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.programs import Job

_BUFFER_BYTES: Final = 256 * 1024
_END: Final = b"\r\n\r\n"


@dataclass(slots=True)
class _Stream:
    """A connection with TLS in memory that reads many records with one system call."""

    host: str
    ca_file: str
    tls: bool
    _socket: socket.socket = field(init=False)
    _incoming: ssl.MemoryBIO = field(init=False, default_factory=ssl.MemoryBIO)
    _outgoing: ssl.MemoryBIO = field(init=False, default_factory=ssl.MemoryBIO)
    _tls: ssl.SSLObject | None = field(init=False, default=None)
    _raw: memoryview = field(
        init=False, default_factory=lambda: memoryview(bytearray(_BUFFER_BYTES))
    )

    def __post_init__(self) -> None:
        name, _, port = self.host.partition(":")
        self._socket = socket.create_connection((name, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            context = ssl.create_default_context(cafile=self.ca_file)
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
            self._shake_hands(self._tls)

    def send(self, content: bytes | memoryview) -> None:
        if self._tls is None:
            self._socket.sendall(content)
            return
        self._tls.write(content)
        self._socket.sendall(self._outgoing.read())

    def receive(self, buffer: memoryview) -> int:
        """Fill the buffer with the bytes of one system call, at least one byte."""
        if self._tls is None:
            return self._socket.recv_into(buffer)
        # typeshed declares only bytearray, and not the returned count
        read: Callable[[int, memoryview], int] = self._tls.read  # type: ignore[assignment]
        count = 0
        while count < len(buffer):
            try:
                count += read(len(buffer) - count, buffer[count:])
            except ssl.SSLWantReadError:
                if count:
                    break
                self._feed()
        return count

    def exchange(self, head: str) -> tuple[dict[str, str], bytes]:
        """Send a request without a body; return the response's headers and the bytes after them."""
        self.send(f"{head}\r\nHost: {self.host}\r\nContent-Length: 0\r\n\r\n".encode())
        return self.read_response()

    def read_response(self) -> tuple[dict[str, str], bytes]:
        content = b""
        buffer = memoryview(bytearray(65536))
        while _END not in content:
            content += buffer[: self.receive(buffer)]
        head, _, rest = content.partition(_END)
        status, *lines = head.decode().split("\r\n")
        if status.split()[1][0] != "2":
            raise ConnectionError(status)
        return {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}, rest

    def _shake_hands(self, tls: ssl.SSLObject) -> None:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                self._socket.sendall(self._outgoing.read())
                self._feed()
            else:
                self._socket.sendall(self._outgoing.read())
                return

    def _feed(self) -> None:
        count = self._socket.recv_into(self._raw)
        if not count:
            raise ConnectionResetError
        self._incoming.write(self._raw[:count])


def copy(order: dict[str, Any]) -> None:
    """Copy every blob."""
    source = _Stream(order["source"], order["ca_file"], order["tls"])
    destination = _Stream(order["destination"], order["ca_file"], order["tls"])
    path = f"/v2/{order['repository']}"
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    for digest, size_bytes in order["blobs"]:
        headers, _ = destination.exchange(f"POST {path}/blobs/uploads/ HTTP/1.1")
        location = headers["location"]
        target = location[location.index("/v2/") :]
        destination.send(
            f"PUT {target}&digest={digest} HTTP/1.1\r\nHost: {destination.host}\r\n"
            f"Content-Length: {size_bytes}\r\n\r\n".encode()
        )
        _, rest = source.exchange(f"GET {path}/blobs/{digest} HTTP/1.1")
        hasher = hashlib.sha256(rest)
        destination.send(rest)
        left = size_bytes - len(rest)
        while left:
            view = buffer[: source.receive(buffer[:left])]
            hasher.update(view)
            destination.send(view)
            left -= len(view)
        if f"sha256:{hasher.hexdigest()}" != digest:
            raise ValueError(digest)
        destination.read_response()


class Floor:
    """The loop as a program. It receives the list of blobs, which other programs look up."""

    name = FLOOR

    def __init__(self, ca_file: Path, directory: Path) -> None:
        self._ca_file = ca_file
        self._order = directory / "floor-order.json"
        self._report = directory / "floor-report.json"

    def warm_up(self, job: Job) -> None:
        """Do nothing: the start is not measured."""

    def copy(self, job: Job) -> Usage:
        """Copy in a new process."""
        order = {
            "source": job.source,
            "destination": job.destination,
            "repository": job.image.repository,
            "blobs": job.image.blobs,
            "ca_file": str(self._ca_file),
            "tls": job.tls,
        }
        self._order.write_text(json.dumps(order))
        # the function's Python, whose loop and OpenSSL the bound is of
        python = str(artifact.PYTHON)
        command = [python, "-m", "benchmarks.floor", str(self._report), str(self._order)]
        subprocess.run(command, check=True)
        return Usage(*json.loads(self._report.read_text()))

    def close(self) -> None:
        """Do nothing."""


def main(arguments: list[str]) -> None:
    """Copy the given blobs and write the report."""
    report, order = arguments
    wall, cpu = time.perf_counter(), time.process_time()
    copy(json.loads(Path(order).read_text()))
    used = [time.perf_counter() - wall, time.process_time() - cpu, peak_bytes(os.getpid())]
    Path(report).write_text(json.dumps(used))


if __name__ == "__main__":
    main(sys.argv[1:])
