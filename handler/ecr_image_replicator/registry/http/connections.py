"""The connections below requests: pooled, over the wire of the exchange, with one trust store."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import ssl
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import certifi
import requests.adapters
import requests.utils
import urllib3
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions
import urllib3.util

from ecr_image_replicator.registry.http.connection_errors import Proxy
from ecr_image_replicator.registry.http.response_heads import WholeHeadResponse
from ecr_image_replicator.registry.http.tls import TlsSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ecr_image_replicator.registry.http.guarded_connection import (
        GuardedConnection,
        SocketHandle,
    )
    from ecr_image_replicator.registry.http.urls import Origin, Url

#: For each of the addresses of a host, and for a proxy's answer and TLS's handshake.
_CONNECT_SECONDS: Final = 10.0
_CA_VARIABLES: Final = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "AWS_CA_BUNDLE",
)
_NO_RETRIES: Final = urllib3.Retry(total=False)
_NO_DELAY: Final = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
#: On which most bytes come from the server.
_READING_METHODS: Final = frozenset({"GET", "HEAD"})
#: The exchange that each thread has under way.
_CURRENT: Final = threading.local()


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What a connection is wanted for; one that `receives` brings bodies, others send them."""

    wire: GuardedConnection
    receives: bool


@contextmanager
def going_over(wire: GuardedConnection, method: str) -> Iterator[None]:
    """Have this thread's connections go over a wire; one exchange may be within another."""
    # an upload's body is read while it is sent
    outer = getattr(_CURRENT, "exchange", None)
    _CURRENT.exchange = _Exchange(wire, receives=method in _READING_METHODS)
    try:
        yield
    finally:
        _CURRENT.exchange = outer


class Connections:
    """Connections to any number of hosts, directly or through the proxies of the environment.

    requests chooses the proxies and keeps the pools. Its own requests and responses are left out:
    cookies, hooks, encodings and a URL taken apart four times were a fifth of all instructions
    that a small image takes (docs/decisions/0003-bytes-past-the-http-libraries-buffers.md).

    Parameters
    ----------
    per_host
        Kept at most.
    """

    def __init__(self, per_host: int) -> None:
        self._adapter = _Adapter(per_host)
        self._ways: dict[Origin, _Way] = {}

    def open(
        self,
        method: str,
        url: Url,
        *,
        headers: Mapping[str, str],
        body: object,
        stall_seconds: float,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and give its response with the body unread; redirects are not followed.

        Parameters
        ----------
        headers
            With the length of the body, or the transfer coding.
        body
            bytes, or an iterable of bytes-like objects, each sent as it is; None for no body.
        stall_seconds
            The longest wait for any byte to be sent or to come; less for a connection.

        Raises
        ------
        requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError
            Why there is no response.
        http.client.HTTPException
            What came is none.
        """
        way = self._way_to(url)
        response: urllib3.BaseHTTPResponse = way.pool.urlopen(
            method,
            url.absolute_target if way.forwards else url.target,
            body=body,
            headers=dict(headers),
            retries=_NO_RETRIES,
            redirect=False,
            assert_same_host=False,
            timeout=stall_seconds,
            preload_content=False,
            decode_content=False,
        )
        return response

    def proxy_of(self, url: Url) -> Proxy | None:
        """Give the proxy that stands between here and an origin."""
        way = self._ways.get(url.origin)
        found: urllib3.util.Url | None = way.pool.proxy if way else None
        if found is None:
            return None
        shown = f"{found.host}:{found.port}" if found.port else str(found.host)
        return Proxy(shown, has_login=bool(found.auth))

    def preconnect(self, url: Url, count: int, new_wire: Callable[[], GuardedConnection]) -> None:
        """Open connections until `count` are not in use, each in a thread; not through proxies."""
        way = self._way_to(url)
        if not way.is_indirect:
            way.pool.preconnect(count, new_wire)

    def close(self) -> None:
        """Drop every kept connection."""
        self._adapter.close()

    def _way_to(self, url: Url) -> _Way:
        way = self._ways.get(url.origin)
        if way is None or way.pool.pool is None:  # closed, as there were many others
            way = self._ways[url.origin] = self._find_way(url)
        return way

    def _find_way(self, url: Url) -> _Way:
        text = url.absolute_target
        proxies = requests.utils.get_environ_proxies(text, no_proxy=None)
        proxy = requests.utils.select_proxy(text, proxies)
        manager, forwards = self._adapter.poolmanager, False
        if proxy is not None:
            # a proxy may be named without a scheme
            named = proxy if "://" in proxy else f"http://{proxy}"
            manager = self._adapter.proxy_manager_for(named)
            forwards = url.scheme == "http" and not named.lower().startswith("socks")
        host = f"[{url.host}]" if ":" in url.host else url.host
        pool = manager.connection_from_host(host, url.port, url.scheme)
        return _Way(pool, forwards, is_indirect=proxy is not None)


@dataclass(frozen=True, slots=True)
class _Way:
    """How to come to an origin: a pool of connections to it, or to a proxy.

    A proxy that `forwards` wants whole URLs.
    """

    pool: Any
    forwards: bool
    is_indirect: bool


class _Adapter(requests.adapters.HTTPAdapter):
    """Gives every connection one TLS context, so that the trust store is read once."""

    def __init__(self, connections: int) -> None:
        self._tls_context = _trusting_context()
        super().__init__(pool_connections=16, pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._tls_context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOL_CLASSES

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        context = self._tls_context
        manager = super().proxy_manager_for(
            proxy, ssl_context=context, proxy_ssl_context=context, **kwargs
        )
        manager.pool_classes_by_scheme = _POOL_CLASSES
        return manager

    def close(self) -> None:
        """Close every connection now; urllib3 leaves those to the garbage collector."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it is no dict and does not iterate
                manager.pools[key].close()
        super().close()


class _Connection(urllib3.connection.HTTPConnection):
    """A connection that goes, and only goes, over the wire of the exchange under way."""

    response_class = WholeHeadResponse
    _line: SocketHandle | None = None

    def _new_conn(self) -> socket.socket:
        wire: GuardedConnection = _CURRENT.exchange.wire
        try:
            connected, self._line = wire.connect(
                self._dns_host,
                self.port,
                timeout_seconds=min(self.timeout or _CONNECT_SECONDS, _CONNECT_SECONDS),
                # behind a proxy urllib3 leaves Nagle's algorithm on: bodies would wait for an ACK
                options=(*(self.socket_options or ()), _NO_DELAY),
                is_proxy=self.proxy is not None,
            )
        except OSError as error:
            # a bare reset would be taken for a server's that has answered early
            raise urllib3.exceptions.NewConnectionError(self, "not connected") from error
        return connected

    @property
    def has_ended(self) -> bool:
        """Whether the server has closed it; it may have sent tickets for TLS before a request."""
        try:
            connected = socket.socket(fileno=os.dup(self.sock.fileno()))
            with connected:
                return not connected.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        if self._line is not None:
            wire: GuardedConnection = _CURRENT.exchange.wire
            wire.go_over(self._line)
        super().putrequest(*args, **kwargs)

    def close(self) -> None:
        """Close the socket, which a response may still read, and let go of its line."""
        super().close()
        line, self._line = self._line, None
        if line is not None:
            line.let_go()


class _TlsConnection(_Connection, urllib3.connection.HTTPSConnection):
    """The same with TLS."""

    @property
    def is_connected(self) -> bool:
        """Whether it can be used again: not when the peer's farewell came with the last answer."""
        is_connected = super().is_connected
        secured: object = self.sock
        unread = secured.incoming.pending if isinstance(secured, TlsSocket) else 0
        return is_connected and not unread


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    """A pool that opens connections before they are wanted; whoever wants one waits for those."""

    ConnectionCls = _Connection

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ahead: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()

    def preconnect(self, count: int, new_wire: Callable[[], GuardedConnection]) -> None:
        kept = sum(each is not None for each in self.pool.queue) if self.pool else 0
        for _ in range(count - kept - self._ahead.qsize()):
            opening: Future[Any] = Future()
            self._ahead.put(opening)
            work = (opening, new_wire())
            threading.Thread(target=self._open, args=work, name="ahead", daemon=True).start()

    def _open(self, opening: Future[Any], wire: GuardedConnection) -> None:
        connection = super()._new_conn()
        try:
            with going_over(wire, "GET"):
                connection.connect()
        except BaseException as error:  # noqa: BLE001 - the request that comes to it finds out why
            connection.close()
            opening.set_exception(error)
        else:
            opening.set_result(connection)
        finally:
            wire.end()

    def _new_conn(self) -> Any:
        while (opened := self._take()) is not None:
            if not opened.has_ended:
                return opened
            opened.close()
        return super()._new_conn()

    def _take(self) -> Any:
        """Give a connection that was opened ahead; None when there is none."""
        with contextlib.suppress(queue.Empty):
            while True:
                opening = self._ahead.get_nowait()
                with contextlib.suppress(Exception):
                    return opening.result()
        return None

    def close(self) -> None:
        """Close what is kept, and what nobody wanted."""
        super().close()
        while (opened := self._take()) is not None:
            opened.close()


class _TlsPool(_Pool, urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOL_CLASSES: Final = {"http": _Pool, "https": _TlsPool}


class _Context(ssl.SSLContext):
    """Gives a socket that decrypts in memory to whoever is going to receive."""

    def wrap_socket(  # type: ignore[override]
        self, sock: socket.socket, *_: Any, server_hostname: str | None = None, **__: Any
    ) -> TlsSocket | ssl.SSLSocket:
        exchange: _Exchange = _CURRENT.exchange
        if exchange.receives:
            return TlsSocket(sock, self, server_hostname)
        return super().wrap_socket(sock, server_hostname=server_hostname)


def _trusting_context() -> ssl.SSLContext:
    """Trust the authorities that are named, as strictly as Python 3.13 does by itself."""
    named = next(filter(None, map(os.environ.get, _CA_VARIABLES)), None) or certifi.where()
    is_folder = os.path.isdir(named)  # noqa: PTH112 - a plain question, no path is built
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(
        cafile=None if is_folder else named, capath=named if is_folder else None
    )
    return context
