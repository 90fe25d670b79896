"""One request, one response: with `connections` below it, all that knows requests and urllib3.

A session lives as long as the process and keeps its connections. It sends one request and gives
one response: no redirects, no retries, no cookies, no netrc. What the libraries raise becomes an
error of our tree, with the reason and without the URL.
"""

from __future__ import annotations

import http.client
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Final

import requests.exceptions
import urllib3
import urllib3.exceptions

from ecr_image_replicator.errors import (
    ProtocolError,
    ReplicationError,
    Side,
    TransientError,
    UnknownHostError,
    UntrustedHostError,
)
from ecr_image_replicator.registry.http.addresses import AddressScope, is_s3
from ecr_image_replicator.registry.http.connection_errors import (
    describe_fault,
    find_proxy_refusal,
    is_certificate_fault,
    is_malformed_head,
    is_not_tls,
    is_outsize_head,
    is_unknown_host,
)
from ecr_image_replicator.registry.http.connections import Connections, going_over
from ecr_image_replicator.registry.http.guarded_connection import (
    GuardedConnection,
    PrivateAddressError,
)

if TYPE_CHECKING:
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.registry.http.connection_errors import Proxy
    from ecr_image_replicator.registry.http.messages import HttpRequest, StreamedResponse
    from ecr_image_replicator.registry.http.urls import Url

#: Of a request that is not cut off when something else fails: the answer may wait for it.
_POST_TIMEOUT_SECONDS: Final = 10.0
USER_AGENT: Final = "ecr-image-replicator"
_LIBRARY_FAULTS: Final = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)


class NotTlsError(TransientError):
    """The server does not speak TLS; whoever may can try without."""


class Session:
    """Kept connections to any number of hosts.

    Parameters
    ----------
    connections
        Kept per host at most.
    stall_timeout_seconds
        A connection without a byte for so long counts as broken.
    """

    def __init__(self, *, connections: int, stall_timeout_seconds: float = 30.0) -> None:
        self._stall_timeout_seconds = stall_timeout_seconds
        self._connections = Connections(connections)

    def send(
        self,
        request: HttpRequest,
        *,
        side: Side,
        timeout_seconds: float,
        deadline: Deadline | None = None,
        max_scope: AddressScope = AddressScope.LOCAL,
    ) -> StreamedResponse:
        """Send one request and wait for the head of its response.

        Parameters
        ----------
        request
            With an absolute URL.
        side
            For errors.
        timeout_seconds
            The longest wait for any one step, beside the session's own bounds.
        deadline
            Cuts the exchange, its body included; None for one that only the timeout bounds.
        most_inward
            The addresses that the request may go to, whatever its host resolves to.

        Raises
        ------
        NotTlsError
            The server does not speak TLS.
        TransientError
            The connection could not be made or broke.
        UnavailableError
            The server's certificate is not trusted.
        ProtocolError
            What came is not HTTP, or was encoded in a way that was not asked for; or the address
            is not one that the request may go to.
        """
        # cut off in the middle, a POST might open an upload that nobody knows how to cancel
        wire = GuardedConnection(
            _allowed(request.url, max_scope), deadline, outlasts_stop=request.method == "POST"
        )
        try:
            return self._send(request, side, timeout_seconds, wire)
        except BaseException:
            wire.end()
            raise

    def _send(
        self, request: HttpRequest, side: Side, timeout_seconds: float, wire: GuardedConnection
    ) -> StreamedResponse:
        stall_seconds = max(0.001, min(self._stall_timeout_seconds, timeout_seconds))
        if request.method == "POST":
            stall_seconds = min(stall_seconds, _POST_TIMEOUT_SECONDS)
        try:
            with going_over(wire, request.method):
                response = self._connections.open(
                    request.method,
                    request.url,
                    headers=_headers(request),
                    # what is empty has no chunks either
                    body=request.body or None,
                    stall_seconds=stall_seconds,
                )
        except PrivateAddressError as error:
            raise ProtocolError(
                f"the {side} leads to {request.url.authority}, whose address is inside a private "
                "network and the registry's own is not; that is refused",
                side=side,
            ) from error
        except _LIBRARY_FAULTS as error:
            proxy = self._connections.proxy_of(request.url)
            error_from_response = find_proxy_refusal(error, proxy)
            if error_from_response is not None:
                raise error_from_response.error(_failed(request.url, side), side) from error
            missed = proxy if _is_before_proxy(error) else None
            raise _fault(error, request.url, side, missed) from error
        opened = _Response(response, request, side, wire)
        encoding = opened.header("content-encoding").lower()
        # elsewhere nothing is read from a body but the words of a refusal
        if request.method == "GET" and encoding not in {"", "identity"}:
            opened.close()
            raise ProtocolError(
                f"the {side} {request.url.authority} encoded a body although it was not asked to",
                side=side,
                status=opened.status,
            )
        return opened

    def preconnect(self, url: Url, count: int, deadline: Deadline) -> None:
        """Open connections to a host, beside what goes on, until `count` of them are not in use.

        What cannot be opened is left to the requests, which tell why.
        """
        self._connections.preconnect(
            url, count, lambda: GuardedConnection(AddressScope.LOCAL, deadline)
        )

    def close(self) -> None:
        """Drop every kept connection."""
        self._connections.close()


def _headers(request: HttpRequest) -> dict[str, str]:
    """Give a request's headers, those that frame its body included."""
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **request.headers}
    if isinstance(request.body, Sized):
        headers["Content-Length"] = str(len(request.body))
    elif request.body is not None:
        headers["Transfer-Encoding"] = "chunked"
    elif request.method in {"POST", "PUT", "PATCH"}:
        headers["Content-Length"] = "0"
    return headers


class _Response:
    """An open response of urllib3, as the rest of the program sees it."""

    def __init__(
        self,
        response: urllib3.BaseHTTPResponse,
        request: HttpRequest,
        side: Side,
        wire: GuardedConnection,
    ) -> None:
        self.status: int = response.status
        self.url: Url = request.url
        self.scope: AddressScope | None = wire.scope
        self._wire = wire
        self._side = side
        self._raw = response
        self._headers = {name.lower(): value for name, value in response.headers.itermerged()}
        # urllib3's own readinto reads into a new bytes object and copies; http.client's does not
        self._body: Any = response._fp  # type: ignore[attr-defined] # noqa: SLF001
        if request.method == "HEAD":
            self._body.read()  # there is nothing to read, but http.client wants to be asked
            self.close()

    def header(self, name: str) -> str:
        return self._headers.get(name, "")

    def header_values(self, name: str) -> list[str]:
        return list(self._raw.headers.getlist(name))

    def read(self, limit_bytes: int) -> bytes:
        parts: list[bytes] = []
        left = limit_bytes + 1
        buffer = memoryview(bytearray(min(left, 65536)))
        while left and (count := self.readinto(buffer[:left])):
            parts.append(bytes(buffer[:count]))
            left -= count
        if not left:
            self.close()
            raise ProtocolError(
                f"the {self._side} {self.url.authority} answered {self.status} with more than "
                f"{limit_bytes} bytes where so many make no sense",
                side=self._side,
                status=self.status,
            )
        truncated = getattr(self._body, "length", None)
        self.close()
        if truncated:
            raise TransientError(f"the {self._side} {self.url.authority} broke off an answer")
        return b"".join(parts)

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            return int(self._body.readinto(buffer))
        except (*_LIBRARY_FAULTS, ValueError, AttributeError) as error:
            self.close()
            raise _fault(error, self.url, self._side) from error

    def close(self) -> None:
        self._wire.end()
        if self._body is None or self._body.isclosed():
            self._raw.release_conn()
        else:
            self._raw.close()


def _allowed(url: Url, max_scope: AddressScope) -> AddressScope:
    """Let S3 be reached through an interface endpoint of the function's own network."""
    return max(max_scope, AddressScope.PRIVATE) if is_s3(url) else max_scope


def _is_before_proxy(error: BaseException) -> bool:
    """Tell whether a proxy, if there is one, was not even reached."""
    # urllib3 calls by this name also what happens behind a proxy, when the connection is closed
    fault = error.original_error if isinstance(error, urllib3.exceptions.ProxyError) else None
    return isinstance(fault, urllib3.exceptions.NewConnectionError | urllib3.exceptions.SSLError)


def _fault(
    error: BaseException, url: Url, side: Side, missed: Proxy | None = None
) -> ReplicationError:
    """Give the error to raise; `missed` is the proxy that was not reached."""
    way = f": the proxy {missed.shown} cannot be reached" if missed else ""
    sentence = f"{_failed(url, side)}{way}: {describe_fault(error)}"
    if is_outsize_head(error):
        return ProtocolError(
            f"the {side} {url.authority} answered with more headers than make sense", side=side
        )
    if is_malformed_head(error):
        return ProtocolError(
            f"the {side} {url.authority} answered with headers that are malformed or contradict "
            "each other",
            side=side,
        )
    if is_certificate_fault(error):
        return UntrustedHostError(
            f"{sentence}; if it is signed by an authority of your own, name that in SSL_CERT_FILE",
            side=side,
        )
    if url.scheme == "https" and not missed and is_not_tls(error):
        return NotTlsError(sentence)
    if is_unknown_host(error):
        return UnknownHostError(sentence)
    return TransientError(sentence)


def _failed(url: Url, side: Side) -> str:
    return f"the {side} {url.authority} cannot be spoken to"
