"""Why a connection failed, in words that hold no URL: read off the exceptions' types and numbers.

The messages of HTTP libraries quote whole URLs, which may be presigned; those are never shown.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import ReplicationError, Side, TransientError, UnavailableError
from ecr_image_replicator.registry.http.response_heads import MalformedHeadError, OutsizeHeadError
from ecr_image_replicator.retries import RETRYABLE_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_DEPTH: Final = 12
_NOT_TLS_REASONS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
)
#: The first is also a connection's that was closed without an answer, and then a ConnectionError.
_NOT_HTTP: Final = (http.client.BadStatusLine, http.client.UnknownProtocol)
#: In these words, and in no others, `http.client` and urllib3 hand on what a proxy answered.
_REFUSED_TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3})\b")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy's host and port, and whether it is given a login."""

    shown: str
    has_login: bool


@dataclass(frozen=True, slots=True)
class ProxyRefusal:
    """A proxy's answer to CONNECT other than 200 (RFC 9110, section 9.3.6)."""

    proxy: Proxy
    status: int

    def error(self, failed: str, side: Side) -> ReplicationError:
        """Give the error to raise; `failed` begins its sentence.

        A status that may pass is tried again, no other.
        """
        if self.status == 407:
            found = "does not take its login" if self.proxy.has_login else "wants a login"
            advice = "give it as user:password@ before the proxy's host in HTTPS_PROXY"
        else:
            found = "refused to connect to it"
            advice = "let it be reached through the proxy, or name it in NO_PROXY"
        sentence = f"{failed}: the proxy {self.proxy.shown} {found} ({self.status})"
        if self.status in RETRYABLE_STATUSES:
            return TransientError(sentence)
        return UnavailableError(f"{sentence}; {advice}", side=side, status=self.status)


def find_proxy_refusal(error: BaseException, proxy: Proxy | None) -> ProxyRefusal | None:
    """Recognise that a proxy, the one that was asked, did not open a tunnel."""
    messages = map(str, _causes(error))
    refused = next(filter(None, map(_REFUSED_TUNNEL.match, messages)), None)
    return ProxyRefusal(proxy, int(refused[1])) if refused and proxy else None


def describe_fault(error: BaseException) -> str:
    """Say in a few words why a connection failed."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return _describe_tls_fault(cause)
        if isinstance(cause, socket.gaierror):
            return "its name cannot be resolved"
        if isinstance(cause, TimeoutError):
            return "it did not answer in time"
        if isinstance(cause, OSError) and cause.errno is not None:
            return os.strerror(cause.errno).lower()
        if isinstance(cause, _NOT_HTTP) and not isinstance(cause, ConnectionError):
            return "what it answered is not HTTP"
    return "the connection was closed in the middle"


def is_outsize_head(error: BaseException) -> bool:
    """Tell whether a response's head was longer, or had more headers, than any should."""
    outsize = OutsizeHeadError | http.client.LineTooLong
    return any(isinstance(cause, outsize) for cause in _causes(error))


def is_malformed_head(error: BaseException) -> bool:
    """Tell whether a response's headers are none, or contradict each other."""
    return any(isinstance(cause, MalformedHeadError) for cause in _causes(error))


def is_certificate_fault(error: BaseException) -> bool:
    """Tell whether a server's certificate was refused, which trying again does not change."""
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))


def is_unknown_host(error: BaseException) -> bool:
    """Return whether a DNS lookup failed."""
    return any(isinstance(cause, socket.gaierror) for cause in _causes(error))


def is_not_tls(error: BaseException) -> bool:
    """Tell whether a TLS handshake failed because the server does not speak TLS."""
    return any(
        (isinstance(cause, ssl.SSLError) and _reason(cause) in _NOT_TLS_REASONS)
        or isinstance(cause, ssl.SSLEOFError | ConnectionResetError)
        for cause in _causes(error)
    ) and not is_certificate_fault(error)


def _describe_tls_fault(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", "") or "no reason given"
        return f"its certificate is not trusted ({why})"
    return f"TLS failed ({_reason(error).lower().replace('_', ' ')})"


def _reason(error: ssl.SSLError) -> str:
    """Give OpenSSL's reason; errors that Python's own code raises do not have the attribute."""
    return getattr(error, "reason", None) or "no reason given"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk what an exception wraps, in arguments and in causes, the innermost first."""
    found: list[BaseException] = []
    pending: list[object] = [error]
    while pending and len(found) < _MAX_DEPTH:
        candidate = pending.pop(0)
        if isinstance(candidate, BaseException) and candidate not in found:
            found.append(candidate)
            pending += [*candidate.args, getattr(candidate, "reason", None)]
            pending += [candidate.__cause__, candidate.__context__]
    return reversed(found)
