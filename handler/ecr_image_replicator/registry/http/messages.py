"""Requests and responses as plain values, so that only the session knows the HTTP library."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request; headers and URL may hold secrets.

    A body without a length is sent in chunks (RFC 9112, section 7.1).
    """

    method: str
    url: Url = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | VerifiedStream | Iterable[bytes | memoryview] | None = field(
        default=None, repr=False
    )

    @property
    def is_repeatable(self) -> bool:
        """False when the body can be sent only once."""
        return self.body is None or isinstance(self.body, bytes)

    def to(self, url: Url) -> HttpRequest:
        """Give the same request to another URL."""
        return HttpRequest(self.method, url, self.headers, self.body)

    def with_authorization(self, authorization: str | None) -> HttpRequest:
        """Give the same request with, or without, the header that signs it in."""
        headers = {name: self.headers[name] for name in self.headers if name != "Authorization"}
        if authorization is not None:
            headers["Authorization"] = authorization
        return HttpRequest(self.method, self.url, headers, self.body)


class StreamedResponse(Protocol):
    """A response whose body has not been read yet; closed by whoever holds it.

    `scope` says how far inward the address is that answered, None when a proxy was between.
    """

    status: int
    url: Url
    scope: AddressScope | None

    def header(self, name: str) -> str:
        """Give a header's value by its name in small letters, "" when there is none.

        Several are joined by a comma.
        """

    def header_values(self, name: str) -> list[str]:
        """Give every header of that name."""

    def read(self, limit_bytes: int) -> bytes:
        """Read the whole body and keep the connection.

        Raises
        ------
        TransientError
            It broke off.
        ProtocolError
            It is longer than the limit.
        """

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as bytes come; 0 is the end of the body, or of the connection.

        Raises
        ------
        TransientError
            The connection broke.
        """

    def close(self) -> None:
        """Give the connection back when the body was read to its end, else drop it."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response whose body was read."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    url: Url = field(repr=False)

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
        """Give a header's value, "" when there is none."""
        return self.headers.get(name.lower(), "")
