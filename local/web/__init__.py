"""HTTP/1.1 on loopback: messages without sockets, and a server."""

from local.web.access_log import AccessLog, AccessLogEntry
from local.web.messages import (
    AbortedBodyError,
    Body,
    DroppedConnectionError,
    FileSpan,
    OversizedBodyError,
    Request,
    Response,
    read_body,
    s3_error,
)
from local.web.server import Application, LoopbackServer
from local.web.wsgi import WsgiApplication

__all__ = [
    "AbortedBodyError",
    "AccessLog",
    "AccessLogEntry",
    "Application",
    "Body",
    "DroppedConnectionError",
    "FileSpan",
    "LoopbackServer",
    "OversizedBodyError",
    "Request",
    "Response",
    "WsgiApplication",
    "read_body",
    "s3_error",
]
