"""Connections and connection pools of urllib3, bound to the exchange that uses them."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import socket
import ssl
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions

from ecr_image_replicator.registry.http.connection_errors import SilentServerError
from ecr_image_replicator.registry.http.response_heads import WholeHeadResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ecr_image_replicator.registry.http.guarded_connection import (
        GuardedConnection,
        SocketHandle,
    )
    from ecr_image_replicator.registry.http.proxies import Proxy
    from ecr_image_replicator.registry.http.urls import Origin

_NO_DELAY: Final = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
#: A NAT gateway forgets a connection after 350 s without a packet, and a registry may verify a
#: blob for longer before it responds. 0x10 is macOS's TCP_KEEPALIVE, which has the same meaning.
_KEEP_ALIVE: Final = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
_KEEP_ALIVE_SECONDS: Final = (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", 0x10), 60)
_OPTIONS: Final = (_NO_DELAY, _KEEP_ALIVE, _KEEP_ALIVE_SECONDS)
_CURRENT: Final = threading.local()


@dataclass(slots=True, eq=False, repr=False)
class ConnectionUse:
    """What an exchange needs of its connection.

    Attributes
    ----------
    guard
        Connects and cuts it.
    connect_seconds
        The longest wait for each address of a host, for a proxy and for a TLS handshake.
    stall_seconds
        The longest wait for a byte of a response's body.
    silence_seconds
        After how long without a byte in the TLS handshake the server is taken for a plain HTTP
        server; None for never.
    """

    guard: GuardedConnection
    connect_seconds: float
    stall_seconds: float
    silence_seconds: float | None = None


@contextmanager
def connection_use(use: ConnectionUse) -> Iterator[None]:
    """Bind the connections of this thread to an exchange; exchanges may be nested."""
    # an upload reads its body from a download while it is sent
    outer = getattr(_CURRENT, "use", None)
    _CURRENT.use = use
    try:
        yield
    finally:
        _CURRENT.use = outer


def _current_use() -> ConnectionUse:
    use: ConnectionUse = _CURRENT.use
    return use


class _Connection(urllib3.connection.HTTPConnection):
    """A connection whose socket belongs to the exchange of the thread."""

    response_class = WholeHeadResponse
    _handle: SocketHandle | None = None

    def _new_conn(self) -> socket.socket:
        use = _current_use()
        try:
            connected, self._handle = use.guard.connect(
                self._dns_host,
                self.port,
                timeout_seconds=use.connect_seconds,
                options=_OPTIONS,
                is_proxy=self.proxy is not None,
            )
        except OSError as error:
            # urllib3 takes a bare reset for that of a server that has responded early
            raise urllib3.exceptions.NewConnectionError(self, "not connected") from error
        return connected

    @property
    def is_ended(self) -> bool:
        """Whether the server has closed it; TLS tickets may be there before the first request."""
        try:
            connected = socket.socket(fileno=os.dup(self.sock.fileno()))
            with connected:
                return not connected.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        if self._handle is not None:
            _current_use().guard.use(self._handle)
        super().putrequest(*args, **kwargs)

    def getresponse(self) -> Any:
        """Read a response's head; its body has a timeout of its own."""
        connected = self.sock  # which is taken away when the response is the last one
        response = super().getresponse()
        connected.settimeout(_current_use().stall_seconds)
        return response

    def close(self) -> None:
        """Close the socket, which a response may still read, and release its handle."""
        super().close()
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.release()


class _TlsConnection(_Connection, urllib3.connection.HTTPSConnection):
    """The same with TLS."""


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    """A pool that can open connections before they are needed."""

    ConnectionCls = _Connection

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._opening: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()

    def preconnect(self, count: int, new_use: Callable[[], ConnectionUse]) -> None:
        kept = sum(each is not None for each in self.pool.queue) if self.pool else 0
        for _ in range(count - kept - self._opening.qsize()):
            opening: Future[Any] = Future()
            self._opening.put(opening)
            work = (opening, new_use())
            threading.Thread(target=self._open, args=work, name="preconnect", daemon=True).start()

    def _open(self, opening: Future[Any], use: ConnectionUse) -> None:
        connection = super()._new_conn()
        try:
            with connection_use(use):
                connection.connect()
        except BaseException as error:  # noqa: BLE001 - the request that needs it finds out why
            connection.close()
            opening.set_exception(error)
        else:
            opening.set_result(connection)
            if self.pool is None:
                self._close_opened()  # the pool was closed before this connection was queued
        finally:
            use.guard.release()

    def _new_conn(self) -> Any:
        while (opened := self._take_opened()) is not None:
            if not opened.is_ended:
                return opened
            opened.close()
        return super()._new_conn()

    def _take_opened(self) -> Any:
        """Return a connection that `preconnect` opened, waiting for it; None without one."""
        with contextlib.suppress(queue.Empty):
            while True:
                opening = self._opening.get_nowait()
                with contextlib.suppress(Exception):
                    return opening.result()
        return None

    def close(self) -> None:
        """Close the idle connections; one in use is closed when its response ends."""
        super().close()
        self._close_opened()

    def _close_opened(self) -> None:
        while (opened := self._take_opened()) is not None:
            opened.close()


class _TlsPool(_Pool, urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _TlsSocket(ssl.SSLSocket):
    """A TLS socket that is closed if the connection breaks before the handshake.

    `ssl` before Python 3.13 takes over the file descriptor, asks for the peer's address, and
    on a connection that was reset raises an error without closing itself.
    """

    def getpeername(self) -> Any:
        """Return the peer's address; close the socket if there is no peer any more."""
        try:
            return super().getpeername()
        except OSError as error:
            self.close()
            raise ConnectionResetError(errno.ECONNRESET, "connection reset") from error


class ClientContext(ssl.SSLContext):
    """A TLS context whose handshakes last no longer than the exchange of the thread allows."""

    sslsocket_class = _TlsSocket

    def wrap_socket(  # type: ignore[override]
        self, sock: socket.socket, *_: Any, server_hostname: str | None = None, **__: Any
    ) -> ssl.SSLSocket:
        """Make the TLS handshake on a connected socket, as a client."""
        use: ConnectionUse | None = getattr(_CURRENT, "use", None)
        if use is None:  # the response to CloudFormation is sent outside of an exchange
            return super().wrap_socket(sock, server_hostname=server_hostname)
        timeout = sock.gettimeout()
        if use.silence_seconds is not None:
            sock.settimeout(use.silence_seconds)
        try:
            secured = super().wrap_socket(sock, server_hostname=server_hostname)
        except TimeoutError as error:
            if use.silence_seconds is None:
                raise
            raise SilentServerError("no byte in the TLS handshake") from error
        secured.settimeout(timeout)
        return secured


def new_pool(
    origin: Origin,
    proxy: Proxy | None,
    max_connections: int,
    context: ssl.SSLContext | None,
    *,
    verifies: bool = True,
    proxy_context: ssl.SSLContext | None = None,
) -> _Pool:
    """Return a pool of connections to an origin, through a proxy if there is one.

    A proxy is sent whole URLs for plain HTTP, and opens a tunnel for TLS.

    Parameters
    ----------
    max_connections
        The most connections that are kept.
    context
        For TLS with the origin or the proxy; None when neither is used.
    verifies
        Whether certificates are verified; `context` must agree.
    proxy_context
        For TLS with the proxy; None for `context`.
    """
    more: dict[str, Any] = {}
    checks: dict[str, Any] = {} if verifies else {"cert_reqs": "CERT_NONE"}
    scheme: str | None = origin.scheme
    host: Any = origin.host
    port: Any = origin.port
    if proxy is not None:
        config = urllib3.connection.ProxyConfig(proxy_context or context, False, None, None)
        more = {"_proxy": proxy.url, "_proxy_headers": proxy.headers, "_proxy_config": config}
        if scheme == "http":
            scheme, host, port = proxy.url.scheme, proxy.url.host, proxy.url.port
    if scheme == "https":
        return _TlsPool(host, port, maxsize=max_connections, ssl_context=context, **checks, **more)
    return _Pool(host, port, maxsize=max_connections, **more)
