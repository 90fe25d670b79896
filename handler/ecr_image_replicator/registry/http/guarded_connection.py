"""Sockets of HTTP exchanges: which addresses they may connect to, and how another thread cuts them.

A registry directs clients to other hosts: by redirects, realms and upload locations. A public
registry must not direct the function into the network that it runs in. A host name proves nothing,
as its owner decides what it resolves to and may change that at any moment (DNS rebinding), so the
address is checked when the socket connects.
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
    """All addresses of a host are in a smaller scope than the exchange may connect to."""


class SocketHandle:
    """A reference-counted duplicate of a connected socket, by which another thread can cut it.

    The duplicate has a file descriptor of its own: TLS takes the original over, and http.client
    closes the original before the body of a last response is read.

    Parameters
    ----------
    connected
        The socket; the caller holds the first reference.
    scope
        The scope of the address; None behind a proxy, as only the proxy knows the address.
    """

    def __init__(self, connected: socket.socket, scope: AddressScope | None) -> None:
        self.scope: Final = scope
        self._socket = connected.dup()
        self._lock = threading.Lock()
        self._references = 1

    def acquire(self) -> None:
        """Add a reference."""
        with self._lock:
            self._references += 1

    def release(self) -> None:
        """Drop a reference; the last one closes the duplicate."""
        with self._lock:
            self._references -= 1
            if not self._references:
                self._socket.close()

    def shut_down(self) -> None:
        """End every wait on the connection, in every thread, as if the peer had closed it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class GuardedConnection:
    """The connection of one exchange of a request and a response.

    Parameters
    ----------
    max_scope
        The smallest circle of addresses that the exchange may connect to.
    deadline
        Cuts the connection; None for an exchange with a short timeout of its own.
    seconds_after_stop
        How long after `Deadline.stop` it is cut; the deadline always cuts it at once.
    """

    def __init__(
        self, max_scope: AddressScope, deadline: Deadline | None, *, seconds_after_stop: float = 0.0
    ) -> None:
        self._max_scope = max_scope
        self._lock = threading.Lock()
        self._handle: SocketHandle | None = None
        self._is_cut = False
        #: The scope of the last address; None behind a proxy.
        self.scope: AddressScope | None = None
        self._timer: threading.Timer | None = None
        self._is_released = False
        self._seconds_after_stop = seconds_after_stop
        self._unregister: list[Callable[[], None]] = []
        if deadline is not None and not seconds_after_stop:
            self._unregister = [deadline.when_cut(self.cut)]
        elif deadline is not None:
            self._unregister = [
                deadline.when_cut(self.cut, outlasts_stop=True),
                deadline.when_cut(self._cut_later),
            ]

    def connect(
        self,
        host: str,
        port: int,
        *,
        timeout_seconds: float,
        options: Iterable[_SocketOption],
        is_proxy: bool,
    ) -> tuple[socket.socket, SocketHandle]:
        """Connect to the first allowed address of a host that accepts.

        Returns
        -------
        tuple
            The socket, and its handle, of which the caller has a reference.

        Raises
        ------
        PrivateAddressError
            The host has no allowed address.
        OSError
            The DNS lookup failed, or no address accepts the connection.
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
            handle = SocketHandle(connected, scope)
            try:
                for option in options:
                    connected.setsockopt(*option)
                connected.settimeout(timeout_seconds)
                self.use(handle)
                connected.connect(address)
            except OSError as error:
                handle.release()
                connected.close()
                failure = error
            else:
                return connected, handle
        raise failure

    def use(self, handle: SocketHandle) -> None:
        """Take over a socket, new or kept from an earlier exchange, in place of the current one.

        Raises
        ------
        PrivateAddressError
            It was connected for an exchange with a wider choice of addresses.
        """
        if handle.scope is not None and handle.scope > self._max_scope:
            raise PrivateAddressError("a kept connection")
        handle.acquire()
        with self._lock:
            before, self._handle = self._handle, handle
            self.scope = handle.scope
            if self._is_cut:
                handle.shut_down()
        if before is not None:
            before.release()

    def cut(self) -> None:
        """Shut the connection down, and each one that the exchange uses from now on."""
        with self._lock:
            self._is_cut = True
            if self._handle is not None:
                self._handle.shut_down()

    def release(self) -> None:
        """End the exchange; the connection stays open and can no longer be cut from here."""
        for unregister in self._unregister:
            unregister()
        with self._lock:
            before, self._handle = self._handle, None
            self._is_released = True
            timer = self._timer
        if timer is not None:
            timer.cancel()
        if before is not None:
            before.release()

    def _cut_later(self) -> None:
        timer = threading.Timer(self._seconds_after_stop, self.cut)
        timer.name, timer.daemon = "after-stop", True
        with self._lock:
            if self._is_released:
                return
            self._timer = timer
            timer.start()
