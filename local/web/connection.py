"""One connection: reads requests, calls the application, sends and records responses."""

from __future__ import annotations

import http.client
import io
import logging
import socket
import ssl
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer
from typing import Any, cast
from urllib.parse import unquote

from local.web.access_log import AccessLog, AccessLogEntry, without_secrets
from local.web.bodies import ConnectionBody
from local.web.messages import (
    BLOCK_BYTES,
    AbortedBodyError,
    DroppedConnectionError,
    FileSpan,
    Request,
    Response,
)

_logger = logging.getLogger(__name__)

_TLS_HANDSHAKE_RECORD = b"\x16"
_DISCARD_LIMIT_BYTES = 256 * 1024
_LINGER_SECONDS = 60.0
_NO_CONTENT_LENGTH = frozenset({204, 304})


class ConnectionHandler(BaseHTTPRequestHandler):
    """Serves the requests of one keep-alive connection.

    A TLS ClientHello on a plain port closes the connection without a response or log entry, as
    clients that try TLS first expect from a server without TLS.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = BLOCK_BYTES

    def __init__(
        self,
        connection: socket.socket,
        client_address: Any,
        server: BaseServer,
        application: Callable[[Request], Response],
        access_log: AccessLog,
    ) -> None:
        self._application = application
        self._access_log = access_log
        self._expects_continue = False
        super().__init__(connection, client_address, server)

    def handle_one_request(self) -> None:
        """Read one request and send its response, unless the connection has ended."""
        self.close_connection = True
        stream = cast("io.BufferedReader", self.rfile)
        try:
            if stream.peek(1)[:1] in {b"", _TLS_HANDSHAKE_RECORD}:
                return
            self.raw_requestline = stream.readline(65537)
            self._expects_continue = False
            if len(self.raw_requestline) <= 65536 and self.parse_request():
                self._respond(stream)
        except OSError:
            self.close_connection = True

    def handle_expect_100(self) -> bool:
        """Delay `100 Continue` until the body is first read."""
        self._expects_continue = True
        return True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Print nothing, since the access log has all requests."""

    def _respond(self, stream: io.BufferedReader) -> None:
        started_at = time.monotonic()
        try:
            body = self._request_body(stream)
        except ValueError:
            self.close_connection = True
            self._send_head(400, {}, 0)
            return
        request = self._request(body)
        try:
            response = self._application(request)
        except (DroppedConnectionError, AbortedBodyError):
            self._record(request, body, 0, 0, started_at)
            self.close_connection = True
            return
        except Exception:
            _logger.exception("%s %s failed", request.method, request.path)
            response = Response(500)
        if not body.discard(_DISCARD_LIMIT_BYTES):
            self.close_connection = True
        sent_bytes = 0 if request.method == "HEAD" else response.length
        number = self._record(request, body, response.status, sent_bytes, started_at)
        self._send(response, sent_bytes, number)
        if not body.finished:
            self._linger()

    def _request_body(self, stream: io.BufferedReader) -> ConnectionBody:
        content_length: int | None = int(self.headers.get("Content-Length") or 0)
        if content_length is not None and content_length < 0:
            raise ValueError(content_length)
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            content_length = None
        wanted = self._send_continue if self._expects_continue else None
        return ConnectionBody(stream, content_length, wanted)

    def _send_continue(self) -> None:
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _request(self, body: ConnectionBody) -> Request:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        scheme = "https" if isinstance(self.connection, ssl.SSLSocket) else "http"
        authority = headers.get("host") or "{}:{}".format(*self.connection.getsockname()[:2])
        return Request(
            method=self.command,
            path=unquote(path),
            query=query,
            headers=headers,
            body=body,
            content_length=body.content_length,
            origin=f"{scheme}://{authority}",
        )

    def _record(
        self,
        request: Request,
        body: ConnectionBody,
        status: int,
        response_bytes: int,
        started_at_seconds: float,
    ) -> int:
        authorization = request.headers.get("authorization")
        return self._access_log.record(
            AccessLogEntry(
                method=request.method,
                path=request.path,
                query=request.query,
                status=status,
                request_bytes=body.received_bytes,
                response_bytes=response_bytes,
                headers=without_secrets(request.headers),
                authorization_scheme=authorization.split(" ")[0] if authorization else None,
                started_at_seconds=started_at_seconds,
            )
        )

    def _send(self, response: Response, body_bytes: int, record_number: int) -> None:
        promised_bytes = body_bytes
        if response.drop_after_bytes is not None and response.drop_after_bytes < body_bytes:
            body_bytes = response.drop_after_bytes
            self.close_connection = True
            self._access_log.correct_response_bytes(record_number, body_bytes)
        if isinstance(response.body, bytes):
            content = response.body[:body_bytes] if promised_bytes else b""
            self._send_head(response.status, response.headers, response.length, content)
            return
        self._send_head(response.status, response.headers, response.length)
        sent_bytes = 0
        try:
            with response.body.path.open("rb", buffering=0) as file:
                sent_bytes = self._send_file(file, response.body, body_bytes)
        finally:
            if sent_bytes < body_bytes:
                self.close_connection = True
                self._access_log.correct_response_bytes(record_number, sent_bytes)

    def _send_head(
        self, status: int, headers: Any, content_length: int, content: bytes = b""
    ) -> None:
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if status not in _NO_CONTENT_LENGTH:
            lines.append(f"Content-Length: {content_length}")
        if self.close_connection:
            lines.append("Connection: close")
        head = "\r\n".join([*lines, f"Date: {self.date_time_string()}", "", ""])
        self.connection.sendall(head.encode("latin-1") + content)

    def _send_file(self, file: io.FileIO, span: FileSpan, count: int) -> int:
        if not count:
            return 0
        if not isinstance(self.connection, ssl.SSLSocket):
            return self._send_file_by_kernel(file, span, count)
        # SSLSocket.sendfile sends 8 KiB at a time
        file.seek(span.offset)
        block = memoryview(bytearray(BLOCK_BYTES))
        sent_bytes = 0
        try:
            while sent_bytes < count and (
                size := file.readinto(block[: min(BLOCK_BYTES, count - sent_bytes)])
            ):
                self.connection.sendall(block[:size])
                sent_bytes += size
        except OSError:
            self.close_connection = True
        return sent_bytes

    def _send_file_by_kernel(self, file: io.FileIO, span: FileSpan, count: int) -> int:
        connection: socket.socket = self.connection
        try:
            return connection.sendfile(file, span.offset, count)
        except OSError:
            self.close_connection = True
            # socket.sendfile sets the file's position after the sent bytes
            return max(0, file.tell() - span.offset)

    def _linger(self) -> None:
        """Read the client's remaining bytes, so that a reset does not discard the response."""
        deadline = time.monotonic() + _LINGER_SECONDS
        if not isinstance(self.connection, ssl.SSLSocket):
            self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(_LINGER_SECONDS)
        while self.connection.recv(BLOCK_BYTES) and time.monotonic() < deadline:
            pass
