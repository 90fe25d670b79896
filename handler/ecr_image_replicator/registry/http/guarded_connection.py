"""The sockets below HTTP: which addresses they may lead to, and how they are cut from outside.

A registry leads clients to other hosts: by redirects, by the realms of its challenges, by the
addresses of uploads. A public one must not lead into the network that the function stands in.
Names prove nothing, as whoever owns a name decides what it resolves to, and may decide otherwise
the next moment: what is looked at is the address that is connected to.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.registry.http.addresses import AddressScope, scope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ecr_image_replicator.deadline import Deadline

_SocketOption = tuple[int, int, int | bytes]


class PrivateAddressError(Exception):
    """A host has only addresses that are further inward than may be reached."""


class SocketHandle:
    """A connection as it is cut: open until the last one who holds it lets go.

    It has a descriptor of its own, as TLS takes the socket over, and as the connection of a last
    response is closed before its body was read.

    Parameters
    ----------
    connected
        Whoever makes the line holds it.
    scope
        Of the address that it leads to; None behind a proxy, which alone knows.
    """

    def __init__(self, connected: socket.socket, scope: AddressScope | None) -> None:
        self.scope: Final = scope
        self._socket = connected.dup()
        self._lock = threading.Lock()
        self._holders = 1

    def hold(self) -> None:
        """Keep it open."""
        with self._lock:
            self._holders += 1

    def let_go(self) -> None:
        """Close it, unless others hold it."""
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._socket.close()

    def cut(self) -> None:
        """End every wait on the connection; whoever waits sees it broken."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class GuardedConnection:
    """What one exchange of a request and a response goes over.

    Parameters
    ----------
    most_inward
        The addresses that it may go to.
    deadline
        Cuts it; None for an exchange that has its own short bound.
    outlasts_stop
        Only the end of time cuts it.
    """

    def __init__(
        self, max_scope: AddressScope, deadline: Deadline | None, *, outlasts_stop: bool = False
    ) -> None:
        self._max_scope = max_scope
        self._lock = threading.Lock()
        self._line: SocketHandle | None = None
        self._is_cut = False
        #: Of the address that it went to last; None behind a proxy, which alone knows.
        self.scope: AddressScope | None = None
        self._forget: Callable[[], None] = (
            deadline.when_cut(self.cut, outlasts_stop=outlasts_stop) if deadline else _nothing
        )

    def connect(
        self,
        host: str,
        port: int,
        *,
        timeout_seconds: float,
        options: Iterable[_SocketOption],
        is_proxy: bool,
    ) -> tuple[socket.socket, SocketHandle]:
        """Connect to the first address of a host that may be reached and answers.

        Returns
        -------
        tuple
            The socket, and its line, which the caller holds.

        Raises
        ------
        PrivateAddressError
            None of its addresses may be reached.
        OSError
            It cannot be resolved, or none of them answers.
        """
        failure: Exception = OSError("the name has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM
        ):
            scope = None if is_proxy else scope_of(str(address[0]))
            if scope is not None and scope > self._max_scope:
                failure = PrivateAddressError(str(address[0]))
                continue
            connected = socket.socket(family, kind, protocol)
            line = SocketHandle(connected, scope)
            try:
                for option in options:
                    connected.setsockopt(*option)
                connected.settimeout(timeout_seconds)
                self.go_over(line)
                connected.connect(address)
            except OSError as error:
                line.let_go()
                connected.close()
                failure = error
            else:
                return connected, line
        raise failure

    def go_over(self, line: SocketHandle) -> None:
        """Go over a connection, new or kept from before, and no longer over another.

        Raises
        ------
        PrivateAddressError
            It was made for somebody who may scope further inward.
        """
        if line.scope is not None and line.scope > self._max_scope:
            raise PrivateAddressError("a kept connection")
        line.hold()
        with self._lock:
            before, self._line = self._line, line
            self.scope = line.scope
            if self._is_cut:
                line.cut()
        if before is not None:
            before.let_go()

    def cut(self) -> None:
        """Cut the connection, and each that it goes over from now on."""
        with self._lock:
            self._is_cut = True
            if self._line is not None:
                self._line.cut()

    def end(self) -> None:
        """Let go of the connection, which may be kept for others."""
        self._forget()
        with self._lock:
            before, self._line = self._line, None
        if before is not None:
            before.let_go()


def _nothing() -> None:
    pass
