"""Stalls that a server declares, so that no test waits for the program's stall timeout."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

import pytest

from ecr_image_replicator.registry.http import guarded_connection

_POLL_MILLISECONDS = 5
#: Client addresses of stalled connections.
_STALLED: set[Any] = set()
#: Addresses at which connections time out.
_UNREACHABLE: set[Any] = set()
_SOCKETS: WeakValueDictionary[Any, _StallingSocket] = WeakValueDictionary()


def stall(accepted: socket.socket) -> None:
    """Let the next read of the client time out after it has read the bytes sent so far."""
    _STALLED.add(accepted.getpeername())


def timeout_of_client(accepted: socket.socket) -> float | None:
    """Return the current timeout of the client's socket."""
    return _SOCKETS[accepted.getpeername()].gettimeout()


@contextmanager
def unreachable(host: str) -> Iterator[None]:
    """Let connections to ``127.0.0.1:PORT`` time out, within `declared_stalls`."""
    name, _, port = host.partition(":")
    _UNREACHABLE.add((name, int(port)))
    try:
        yield
    finally:
        _UNREACHABLE.remove((name, int(port)))


@contextmanager
def declared_stalls() -> Iterator[None]:
    """Replace the sockets of the program, so that `stall` and `timeout_of_client` work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guarded_connection, "socket", _SocketModule())
        yield


class _StallingSocket(socket.socket):
    """A socket whose reads time out only when the server has declared a stall.

    Its timeout is required and has no effect, as a busy machine could reach it.
    """

    def connect(self, address: Any, /) -> None:
        if address in _UNREACHABLE:
            raise TimeoutError("timed out")
        super().connect(address)
        own_address = self.getsockname()
        _STALLED.discard(own_address)  # an earlier connection had the same port
        _SOCKETS[own_address] = self

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        self._wait_for_bytes()
        return super().recv(bufsize, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:
        self._wait_for_bytes()
        return super().recv_into(buffer, nbytes, flags)

    def _wait_for_bytes(self) -> None:
        assert self.gettimeout() is not None
        poll = select.poll()
        poll.register(self, select.POLLIN)
        own_address = self.getsockname()
        # bytes that were sent before the stall are read first
        while not poll.poll(_POLL_MILLISECONDS):
            if own_address in _STALLED:
                raise TimeoutError("timed out")


class _SocketModule:
    """The module `socket` with the stalling socket class."""

    socket = _StallingSocket

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)
