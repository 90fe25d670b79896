"""Ports for programs that cannot report a port that the kernel chose."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HOST: Final = "127.0.0.1"
_RANGE_FILE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
#: The range of Linux, where that file does not exist.
_USUAL_RANGE: Final = (32768, 60999)
_FIRST, _LAST = 10240, 65535


class ReservedPort:
    """A TCP port on 127.0.0.1 for one program, until `close`.

    The kernel does not assign it to connections and other servers: it is outside of
    ip_local_port_range. Other processes that reserve ports do not choose it: a bound UDP socket of
    the same number marks it.

    Attributes
    ----------
    number
        The port.
    """

    def __init__(self) -> None:
        candidates = unassigned_ports()
        self.number, self._mark = 0, None
        while self._mark is None:
            self.number = random.SystemRandom().choice(candidates)
            self._mark = _mark(self.number)

    def close(self) -> None:
        """Release the port. Can be called twice."""
        if self._mark is not None:
            self._mark.close()


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """Reserve a port while the context is open."""
    with contextlib.closing(ReservedPort()) as port:
        yield port.number


def unassigned_ports() -> Sequence[int]:
    """Return the ports that the kernel assigns to no socket by itself."""
    try:
        first, last = map(int, _RANGE_FILE.read_text().split())
    except OSError:
        first, last = _USUAL_RANGE
    everything = range(_FIRST, _LAST + 1)
    return [port for port in everything if not first <= port <= last] or everything


def _mark(number: int) -> socket.socket | None:
    """Return a socket that reserves a port, or None if the port is in use."""
    with contextlib.ExitStack() as undo:
        mark = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        try:
            mark.bind((_HOST, number))
            socket.create_server((_HOST, number)).close()
        except OSError:
            return None
        undo.pop_all()
        return mark
