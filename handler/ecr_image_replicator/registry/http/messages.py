"""HTTP requests and responses as values, independent of the HTTP library."""

from __future__ import annotations

import http
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ecr_image_replicator.model.digests import VerifiedStream
    from ecr_image_replicator.registry.http.addresses import AddressScope
    from ecr_image_replicator.registry.http.urls import Url

_KEPT_HEADERS: Final = (
    "content-type",
    "docker-content-digest",
    "docker-ratelimit-source",
    "link",
    "location",
    "oci-subject",
    "ratelimit-limit",
    "ratelimit-remaining",
    "retry-after",
)
_LOGGED_HEADER: Final = "docker-ratelimit-source"


def status_text(status: int) -> str:
    """Return a status with its reason phrase (RFC 9110, section 15): ``404 Not Found``."""
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


@dataclass(slots=True, eq=False, repr=False)
class HttpRequest:
    """One request; headers and URL may hold secrets.

    A body without a length is sent with chunked transfer coding (RFC 9112, section 7.1).
    """

    method: str
    url: Url
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | VerifiedStream | Iterable[bytes | memoryview] | None = None

    @property
    def is_repeatable(self) -> bool:
        """Whether the body can be sent again."""
        return self.body is None or isinstance(self.body, bytes)

    def to(self, url: Url) -> HttpRequest:
        """Return the same request for another URL."""
        return HttpRequest(self.method, url, self.headers, self.body)

    def with_authorization(self, authorization: str | None) -> HttpRequest:
        """Return the same request with another Authorization header, or without one."""
        headers = {name: self.headers[name] for name in self.headers if name != "Authorization"}
        if authorization is not None:
            headers["Authorization"] = authorization
        return HttpRequest(self.method, self.url, headers, self.body)


class StreamedResponse(Protocol):
    """A response whose body has not been read yet; the caller closes it.

    `scope` is the scope of the server's address, None behind a proxy.
    """

    status: int
    url: Url
    scope: AddressScope | None

    def header(self, name: str) -> str:
        """Return the value of a header, named in lower case; "" when there is none.

        Several values are separated by commas.
        """

    def header_values(self, name: str) -> list[str]:
        """Return the value of every header of that name."""

    def read(self, limit_bytes: int) -> bytes:
        """Read the whole body and keep the connection.

        Raises
        ------
        TransientError
            The connection was closed before the end of the body.
        ProtocolError
            The body is longer than the limit.
        """

    def readinto(self, buffer: memoryview, /) -> int:
        """Read bytes into the buffer; 0 is the end of the body, or of the connection.

        Raises
        ------
        TransientError
            The connection failed.
        """

    def close(self) -> None:
        """Keep the connection if the body was read to its end, else close it."""


@dataclass(slots=True, eq=False, repr=False)
class HttpResponse:
    """A response whose body was read."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: Url

    @classmethod
    def of(
        cls,
        response: StreamedResponse,
        content: bytes,
        redact: Callable[[bytes], bytes] | None = None,
    ) -> HttpResponse:
        """Return a response with the headers that are used.

        Parameters
        ----------
        redact
            Removes credentials from a header that is logged.
        """
        headers = {name: response.header(name) for name in _KEPT_HEADERS}
        if redact is not None and (logged := headers[_LOGGED_HEADER]):
            headers[_LOGGED_HEADER] = redact(logged.encode()).decode()
        return cls(response.status, headers, content, response.url)

    def header(self, name: str) -> str:
        """Return the value of a header, "" when there is none."""
        return self.headers.get(name.lower(), "")
