"""A WSGI program (PEP 3333) as an application of these servers."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from local.web.messages import Request, Response, read_body

_Program = Callable[[dict[str, Any], Any], Iterable[bytes]]
_BODY_LIMIT_BYTES = 1024 * 1024 * 1024


class WsgiApplication:
    """Calls a WSGI program for each request, with the body in memory."""

    def __init__(self, program: _Program) -> None:
        self._program = program

    def __call__(self, request: Request) -> Response:
        """Return the response to a request."""
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], _exception: object = None
        ) -> None:
            started.append((status, headers))

        parts = self._program(_environment(request), start_response)
        try:
            body = b"".join(parts)
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()
        status, headers = started[-1]
        lengths = [int(value) for name, value in headers if name.lower() == "content-length"]
        kept = {name: value for name, value in headers if name.lower() != "content-length"}
        promised = lengths[0] if lengths and request.method == "HEAD" else None
        return Response(int(status.split()[0]), kept, body, promised_bytes=promised)


def _environment(request: Request) -> dict[str, Any]:
    body = read_body(request, _BODY_LIMIT_BYTES)
    scheme, _, authority = request.origin.partition("://")
    host, _, port = authority.partition(":")
    environment: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path.encode().decode("latin-1"),
        "QUERY_STRING": request.query,
        "RAW_URI": quote(request.path) + (f"?{request.query}" if request.query else ""),
        "SERVER_NAME": host,
        "SERVER_PORT": port or {"https": "443", "http": "80"}[scheme],
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        variable = name.upper().replace("-", "_")
        if variable not in {"CONTENT_TYPE", "CONTENT_LENGTH", "TRANSFER_ENCODING"}:
            variable = f"HTTP_{variable}"
        environment[variable] = value
    environment["CONTENT_LENGTH"] = str(len(body))
    environment.pop("TRANSFER_ENCODING", None)
    return environment
