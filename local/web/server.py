"""A threaded HTTP/1.1 server on a loopback port, optionally with TLS."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable
from typing import Any, Self

from local.running import Running
from local.web.access_log import AccessLog, AccessLogEntry
from local.web.connection import ConnectionHandler
from local.web.messages import Request, Response

Application = Callable[[Request], Response]
"""Returns the response to a request; raises `DroppedConnectionError` to close the connection."""

_SHUTDOWN_POLL_SECONDS = 0.02
_HANDSHAKE_SECONDS = 60.0
_JOIN_SECONDS = 5.0


class LoopbackServer(Running):
    """Serves one application on 127.0.0.1. Port 0 is a free port.

    The port is bound when the object is created and served from `start` (or `with`) to `close`,
    which closes open connections and waits for their threads.

    Raises
    ------
    OSError
        The port is in use.
    """

    def __init__(
        self, application: Application, *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.access_log = AccessLog()
        self._sockets = _SocketServer(port, application, self.access_log, tls)
        self.scheme = "https" if tls else "http"
        self.port = int(self._sockets.server_address[1])
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{self.scheme}://{self.host}"
        self._thread: threading.Thread | None = None

    @property
    def requests(self) -> tuple[AccessLogEntry, ...]:
        """A snapshot of the requests, in the order of their responses."""
        return self.access_log.entries()

    @property
    def accepted_connections(self) -> int:
        """The number of accepted connections."""
        return self._sockets.accepted_connections

    def end_connections(self) -> None:
        """Shut down open connections, as a server does after its keep-alive timeout."""
        self._sockets.end_connections()

    def start(self) -> Self:
        """Start accepting connections."""
        self._thread = threading.Thread(
            target=self._sockets.serve_forever,
            args=(_SHUTDOWN_POLL_SECONDS,),
            name=f"loopback-{self.port}",
            daemon=True,
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop accepting, close all connections and free the port. Can be called twice."""
        if self._thread is not None:
            with contextlib.suppress(OSError):
                # the thread ends at once, or at its next poll on systems that reject this
                self._sockets.socket.shutdown(socket.SHUT_RDWR)
            self._sockets.shutdown()
            self._thread.join()
            self._thread = None
        self._sockets.server_close()
        self._sockets.end_connections()


class _SocketServer(socketserver.TCPServer):
    """Accepts connections and serves each, with its TLS handshake, in a daemon thread."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, port: int, application: Application, access_log: AccessLog, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(("127.0.0.1", port), socketserver.BaseRequestHandler)
        self._application = application
        self._access_log = access_log
        self._tls = tls
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        self.accepted_connections = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a new thread (`socketserver` calls it a request)."""
        thread = threading.Thread(
            target=self._serve_connection, args=(request, client_address), daemon=True
        )
        with self._lock:
            # before the thread starts: once a client has a response, its connection is counted
            self._connections[thread] = request
            self.accepted_connections += 1
            thread.start()

    def end_connections(self) -> None:
        """Shut every open connection down and wait for the threads which serve them."""
        with self._lock:  # no socket is replaced by a TLS one meanwhile
            threads = list(self._connections)
            for connection in self._connections.values():
                with contextlib.suppress(OSError):
                    # not SSLSocket.shutdown, which breaks a handshake in another thread
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in threads:
            thread.join(_JOIN_SECONDS)

    def _serve_connection(self, connection: socket.socket, client_address: Any) -> None:
        try:
            connection = self._secured(connection)
            ConnectionHandler(connection, client_address, self, self._application, self._access_log)
        except OSError:
            pass  # disconnects and clients without TLS are not errors of the server
        finally:
            with self._lock:
                self._connections.pop(threading.current_thread(), None)
            connection.close()

    def _secured(self, connection: socket.socket) -> socket.socket:
        if self._tls is None:
            return connection
        connection.settimeout(_HANDSHAKE_SECONDS)
        with self._lock:
            # wrap_socket detaches the accepted socket: closing has to find the new one
            secured = self._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
            self._connections[threading.current_thread()] = secured
        try:
            secured.do_handshake()
        except BaseException:
            secured.close()
            raise
        secured.settimeout(None)
        return secured
