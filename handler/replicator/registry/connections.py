"""The connections below requests: pooled, over the wire of the exchange, with one trust store."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import certifi
import requests
import requests.adapters
import urllib3
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions

from replicator.registry.heads import WholeHeadResponse
from replicator.registry.tls import new_tls_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from replicator.registry.wires import Reach, Wire

CONNECT_TIMEOUT_SECONDS: Final = 10.0
_CA_VARIABLES: Final = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "AWS_CA_BUNDLE",
)
_NO_DELAY: Final = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
#: The wire of the exchange that each thread has under way.
_CURRENT: Final = threading.local()


@contextmanager
def going_over(wire: Wire) -> Iterator[None]:
    """Have this thread's connections go over a wire; one exchange may be within another."""
    # an upload's body is read while it is sent
    outer = getattr(_CURRENT, "wire", None)
    _CURRENT.wire = wire
    try:
        yield
    finally:
        _CURRENT.wire = outer


def new_session(connections: int) -> requests.Session:
    """Give a session of requests that keeps no cookies, and so many connections a host at most."""
    session = requests.Session()
    session.cookies.set_policy(_NoCookies())
    adapter = _Adapter(connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class _NoCookies(requests.cookies.cookielib.DefaultCookiePolicy):  # type: ignore[misc, name-defined]
    """Registries need no cookies, and one kept is a secret kept."""

    def set_ok(self, *_: Any) -> bool:
        return False


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

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {key: value for key, value in pool.items() if not key.startswith("ca_cert")}

    def close(self) -> None:
        """Close every connection now; urllib3 leaves those to the garbage collector."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it is no dict and does not iterate
                manager.pools[key].close()
        super().close()

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave verification to the context; requests would load the trust store once more."""


class _Connection(urllib3.connection.HTTPConnection):
    """A connection that goes, and only goes, over the wire of the exchange under way."""

    response_class = WholeHeadResponse
    _reach: Reach | None = None

    def _new_conn(self) -> socket.socket:
        wire: Wire = _CURRENT.wire
        try:
            connected, self._reach = wire.connect(
                self._dns_host,
                self.port,
                timeout_seconds=self.timeout or CONNECT_TIMEOUT_SECONDS,
                # behind a proxy urllib3 leaves Nagle's algorithm on: bodies would wait for an ACK
                options=(*(self.socket_options or ()), _NO_DELAY),
                is_proxy=self.proxy is not None,
            )
        except OSError as error:
            # a bare reset would be taken for a server's that has answered early
            raise urllib3.exceptions.NewConnectionError(self, "not connected") from error
        return connected

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            wire: Wire = _CURRENT.wire
            wire.carry(self.sock, self._reach)
        super().putrequest(*args, **kwargs)


class _TlsConnection(_Connection, urllib3.connection.HTTPSConnection):
    """The same with TLS."""

    @property
    def is_connected(self) -> bool:
        """Whether it can be used again: not when the peer's farewell came with the last answer."""
        secured: Any = self.sock
        return super().is_connected and not secured.incoming.pending


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOL_CLASSES: Final = {"http": _Pool, "https": _TlsPool}


def _trusting_context() -> ssl.SSLContext:
    named = next(filter(None, map(os.environ.get, _CA_VARIABLES)), None) or certifi.where()
    is_folder = os.path.isdir(named)  # noqa: PTH112 - a plain question, no path is built
    return new_tls_context(capath=named) if is_folder else new_tls_context(cafile=named)
