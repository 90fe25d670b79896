"""One HTTP request and its response.

A session lives as long as the process and keeps connections. It follows no redirects, retries
nothing, and knows neither cookies nor .netrc. What the libraries raise becomes an error of
`errors`, with the reason and without the URL.
"""

from __future__ import annotations

import http.client
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Final

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
from ecr_image_replicator.no_proxy import is_loopback_name
from ecr_image_replicator.registry.http.addresses import AddressScope, is_s3
from ecr_image_replicator.registry.http.connection_errors import (
    describe_failure,
    find_tunnel_rejection,
    hint_for,
    is_certificate_error,
    is_malformed_head,
    is_not_tls,
    is_oversized_head,
    is_timeout,
    is_unknown_host,
)
from ecr_image_replicator.registry.http.connections import Connections
from ecr_image_replicator.registry.http.encodings import encoding_error, has_coding
from ecr_image_replicator.registry.http.guarded_connection import (
    GuardedConnection,
    PrivateAddressError,
)
from ecr_image_replicator.registry.http.messages import status_text
from ecr_image_replicator.registry.http.pools import ConnectionUse
from ecr_image_replicator.trust_store import UnreadableTrustStoreError

if TYPE_CHECKING:
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.registry.http.messages import HttpRequest, StreamedResponse
    from ecr_image_replicator.registry.http.proxies import Proxy
    from ecr_image_replicator.registry.http.urls import Url

USER_AGENT: Final = "ecr-image-replicator"
#: For each address of a host, for a proxy's response to CONNECT and for a TLS handshake.
_CONNECT_SECONDS: Final = 10.0
#: A POST is not cut at once when something else fails: how long it may delay that error.
_POST_SECONDS_AFTER_STOP: Final = 10.0
#: Registries verify and store what these methods sent before they respond.
_STORING_METHODS: Final = frozenset({"PUT", "PATCH"})
_READ_BYTES: Final = 64 * 1024
_LIBRARY_ERRORS: Final = (
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)


class NotTlsError(TransientError):
    """The server does not use TLS; plain HTTP may work, where it is allowed."""


class ConnectionTimeoutError(TransientError):
    """A connection on which nothing was received or sent in time."""


class Session:
    """Kept connections to a bounded number of hosts.

    Parameters
    ----------
    connections
        The most connections that are kept for each host.
    stall_timeout_seconds
        A connection without a byte for this long is broken.
    response_timeout_seconds
        How long the response to a PUT or PATCH may take after its last byte was sent.
    silence_timeout_seconds
        After how long without a byte in a TLS handshake a server on a loopback address is taken
        for a plain HTTP server.
    unverified
        ``host[:port]`` of servers whose certificates are not verified.
    """

    def __init__(
        self,
        *,
        connections: int,
        stall_timeout_seconds: float = 30.0,
        response_timeout_seconds: float = 600.0,
        silence_timeout_seconds: float = 2.0,
        unverified: frozenset[str] = frozenset(),
    ) -> None:
        self._stall_seconds = stall_timeout_seconds
        self._response_seconds = response_timeout_seconds
        self._silence_seconds = silence_timeout_seconds
        self._connections = Connections(connections, unverified=unverified)

    def send(
        self,
        request: HttpRequest,
        *,
        side: Side,
        timeout_seconds: float,
        deadline: Deadline | None = None,
        max_scope: AddressScope = AddressScope.LOCAL,
        keeps_connection: bool = True,
    ) -> StreamedResponse:
        """Send a request and wait for the head of its response.

        Parameters
        ----------
        side
            For errors.
        timeout_seconds
            The longest wait for any one step, beside the session's own limits.
        deadline
            Cuts the exchange, its body included; None when only the timeout does.
        max_scope
            The addresses that may be connected to, whatever the host resolves to.
        keeps_connection
            False for a host that the registry only redirects to: its connections are closed by
            `close_unkept`.

        Raises
        ------
        NotTlsError
            The server does not use TLS.
        TransientError
            The connection failed.
        UnavailableError
            The server's certificate or the trust store is invalid, or a proxy rejected the tunnel.
        ProtocolError
            The response is invalid, or the address is not allowed.
        """
        # a POST that is cut may open an upload session that cannot be cancelled
        guard = GuardedConnection(
            _allowed_scope(request.url, max_scope),
            deadline,
            seconds_after_stop=_POST_SECONDS_AFTER_STOP if request.method == "POST" else 0.0,
        )
        try:
            response = self._open(request, side, timeout_seconds, guard, keeps=keeps_connection)
            return _Response(response, request, side, guard)
        except BaseException:
            guard.release()
            raise

    def preconnect(self, url: Url, count: int, deadline: Deadline) -> None:
        """Open connections to a host in the background until `count` of them are idle.

        Failures are left to the requests that need the connections.
        """

        def new_use() -> ConnectionUse:
            guard = GuardedConnection(AddressScope.LOCAL, deadline)
            return ConnectionUse(
                guard,
                connect_seconds=_CONNECT_SECONDS,
                stall_seconds=self._stall_seconds,
            )

        self._connections.preconnect(url, count, new_use)

    def close_unkept(self) -> None:
        """Close the idle connections to hosts that registries only redirected to."""
        self._connections.close_unkept()

    def close(self) -> None:
        """Close every idle connection."""
        self._connections.close()

    def _open(
        self,
        request: HttpRequest,
        side: Side,
        timeout_seconds: float,
        guard: GuardedConnection,
        *,
        keeps: bool,
    ) -> urllib3.BaseHTTPResponse:
        url = request.url
        longest = max(0.001, timeout_seconds)
        stall = min(self._stall_seconds, longest)
        is_stored = request.method in _STORING_METHODS
        use = ConnectionUse(
            guard,
            connect_seconds=min(stall, _CONNECT_SECONDS),
            stall_seconds=stall,
            silence_seconds=self._silence_seconds if is_loopback_name(url.host) else None,
        )
        try:
            return self._connections.open(
                request.method,
                url,
                headers=_headers(request),
                body=request.body or None,  # an empty body has no chunks either
                use=use,
                send_seconds=stall,
                response_seconds=min(self._response_seconds, longest) if is_stored else stall,
                keeps=keeps,
            )
        except PrivateAddressError as error:
            raise ProtocolError(
                f"blocked redirect from the {side} registry to private address {url.authority}: "
                "invalid response",
                side=side,
            ) from error
        except UnreadableTrustStoreError as error:
            raise UntrustedHostError(
                f"cannot connect to {url.authority}: {error}",
                side=side,
                hint="Correct the variable, or the file that it names.",
            ) from error
        except _LIBRARY_ERRORS as error:
            proxy = self._connections.proxy_for(url)
            rejection = find_tunnel_rejection(error, proxy)
            if rejection is not None:
                raise rejection.error(f"cannot connect to {url.authority}", side) from error
            raise _error_of(error, url, side, proxy if _is_before_proxy(error) else None) from error


def _headers(request: HttpRequest) -> dict[str, str]:
    """Return the headers of a request, with those that frame its body."""
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **request.headers}
    if isinstance(request.body, Sized):
        headers["Content-Length"] = str(len(request.body))
    elif request.body is not None:
        headers["Transfer-Encoding"] = "chunked"
    elif request.method in {"POST", "PUT", "PATCH"}:
        headers["Content-Length"] = "0"
    return headers


class _Response:
    """An open response of urllib3 as a `StreamedResponse`."""

    def __init__(
        self,
        response: urllib3.BaseHTTPResponse,
        request: HttpRequest,
        side: Side,
        guard: GuardedConnection,
    ) -> None:
        self.status: int = response.status
        self.url: Url = request.url
        self.scope: AddressScope | None = guard.scope
        self.method: str = request.method
        self.side: Side = side
        self._guard = guard
        self._raw = response
        self._headers = {name.lower(): value for name, value in response.headers.itermerged()}
        # urllib3's own readinto reads into a new bytes object and copies; http.client's does not
        self._body: Any = response._fp  # type: ignore[attr-defined] # noqa: SLF001
        if request.method == "HEAD":
            self._body.read()  # http.client frees the connection when its empty body is read
            self.close()

    def header(self, name: str) -> str:
        return self._headers.get(name, "")

    def header_values(self, name: str) -> list[str]:
        return list(self._raw.headers.getlist(name))

    def read(self, limit_bytes: int) -> bytes:
        is_encoded = self.method == "GET" and has_coding(self)
        if is_encoded and 200 <= self.status < 300:
            self.close()
            raise encoding_error(self, self.side)
        parts: list[bytes] = []
        left = limit_bytes + 1
        buffer = memoryview(bytearray(min(left, _READ_BYTES)))
        while left and (count := self.readinto(buffer[:left])):
            parts.append(bytes(buffer[:count]))
            left -= count
        if not left:
            self.close()
            raise ProtocolError(
                f"invalid response from {self.url.authority}: {status_text(self.status)} with "
                f"more than {limit_bytes} bytes",
                side=self.side,
                status=self.status,
            )
        is_truncated = bool(getattr(self._body, "length", None))
        self.close()
        if is_truncated:
            raise TransientError(
                f"cannot connect to {self.url.authority}: connection closed before the end of the "
                "response"
            )
        return b"" if is_encoded else b"".join(parts)

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            return int(self._body.readinto(buffer))
        except (*_LIBRARY_ERRORS, ValueError, AttributeError) as error:
            self.close()
            raise _error_of(error, self.url, self.side) from error

    def close(self) -> None:
        self._guard.release()
        if self._body is None or self._body.isclosed():
            self._raw.release_conn()
        else:
            self._raw.close()


def _allowed_scope(url: Url, max_scope: AddressScope) -> AddressScope:
    """Allow S3 to be reached through an interface endpoint of the function's own network."""
    return max(max_scope, AddressScope.PRIVATE) if is_s3(url) else max_scope


def _is_before_proxy(error: BaseException) -> bool:
    """Return whether the connection to a proxy itself failed."""
    # urllib3 also raises ProxyError for connections that are closed behind a proxy
    cause = error.original_error if isinstance(error, urllib3.exceptions.ProxyError) else None
    return isinstance(cause, urllib3.exceptions.NewConnectionError | urllib3.exceptions.SSLError)


def _error_of(
    error: BaseException, url: Url, side: Side, failed_proxy: Proxy | None = None
) -> ReplicationError:
    """Return the error to raise; `failed_proxy` is the proxy that could not be reached."""
    if is_oversized_head(error):
        return ProtocolError(
            f"invalid response from {url.authority}: the headers are too long or too many",
            side=side,
        )
    if is_malformed_head(error):
        return ProtocolError(
            f"invalid response from {url.authority}: the headers are malformed or contradict each "
            "other",
            side=side,
        )
    through = f" through proxy {failed_proxy}" if failed_proxy else ""
    message = f"cannot connect to {url.authority}{through}: {describe_failure(error)}"
    if is_certificate_error(error):
        return UntrustedHostError(message, side=side, hint=hint_for(error))
    if url.scheme == "https" and not failed_proxy and is_not_tls(error):
        return NotTlsError(message, hint=hint_for(error))
    if is_unknown_host(error):
        return UnknownHostError(message, hint=hint_for(error))
    kind = ConnectionTimeoutError if is_timeout(error) else TransientError
    return kind(message, hint=hint_for(error))
