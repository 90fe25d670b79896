"""The only parser of URLs: what a server sends becomes a `Url` once, or is rejected.

Connection pools, the Authorization check, the address check and the request line all read the
fields of the same value, so that no two of them can take one text for two hosts. RFC 3986, with
hosts as the WHATWG URL standard reads them, and stricter than both: nothing that parsers are known
to disagree on is accepted.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Twice what common servers accept as a request line; presigned URLs have 1,000 to 4,000.
MAX_URL_CHARACTERS: Final = 16 * 1024
_MAX_HOST_CHARACTERS: Final = 253
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
#: Printable ASCII without the backslash, which browsers take for a slash and RFC 3986 does not.
_PLAIN: Final = re.compile(r"[!-\[\]-~]*+")
_ABSOLUTE: Final = re.compile(r"(https?)://([^/?#]*+)([^?#]*+)(?:\?([^#]*+))?+", re.IGNORECASE)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*+:")
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9._-]++)(?::([1-9][0-9]{0,4}))?+")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]++|0x[0-9a-f]*+")


class InvalidUrlError(ValueError):
    """A URL is not an absolute http or https URL in plain ASCII, or has user information."""


class Origin(NamedTuple):
    """Scheme, host and port, which decide where Authorization may be sent (RFC 6454)."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute http or https URL.

    `str()` leaves the query out, which may be a signature.

    Attributes
    ----------
    scheme
        ``http`` or ``https``.
    host
        In lower case, without brackets and without a final dot. An IPv4 address that was written
        in another way (``127.1``, ``0x7f000001``) has its usual form.
    port
        The default port where the URL names none.
    path
        Begins with a slash.
    query
        Without the question mark; None when there is none.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str | None = field(default=None, repr=False)

    @property
    def origin(self) -> Origin:
        """Scheme, host and port."""
        return Origin(self.scheme, self.host, self.port)

    @property
    def authority(self) -> str:
        """``host[:port]`` as a Host header has it: without the default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """Path and query, as a request line has them (RFC 9112, section 3.2.1)."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    @property
    def absolute_target(self) -> str:
        """The whole URL, as a proxy's request line has it (RFC 9112, section 3.2.2)."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    def resolve(self, reference: str) -> Url:
        """Resolve what a server sent, absolute or relative to this URL (RFC 3986, section 5.2).

        A fragment is dropped.

        Raises
        ------
        InvalidUrlError
            The result is not a plain http or https URL.
        """
        _check_plain(reference)
        if _SCHEME.match(reference):
            return parse_url(reference)
        if reference.startswith("//"):
            return parse_url(f"{self.scheme}:{reference}")
        path, mark, query = reference.partition("#")[0].partition("?")
        if not path:
            return replace(self, query=query if mark else self.query)
        if not path.startswith("/"):
            path = f"{self.path.rpartition('/')[0]}/{path}"
        return replace(self, path=_remove_dot_segments(path), query=query if mark else None)

    def with_parameters(self, parameters: Iterable[tuple[str, str]]) -> Url:
        """Return the URL with parameters added to its query, which stays as it is."""
        added = urlencode(list(parameters))
        return replace(self, query=f"{self.query}&{added}" if self.query else added)


def parse_url(text: str) -> Url:
    """Parse an absolute URL; a fragment is dropped.

    Raises
    ------
    InvalidUrlError
        It is not http or https, has user information, a backslash, a space, a control character or
        a character outside ASCII, no valid host or port, or is too long.
    """
    _check_plain(text)
    match = _ABSOLUTE.match(text)
    if match is None:
        raise InvalidUrlError("not an http or https URL")
    scheme, authority, path, query = match.groups()
    host, port = _parse_authority(authority)
    scheme = scheme.lower()
    return Url(scheme, host, port or _DEFAULT_PORTS[scheme], path or "/", query)


def _check_plain(text: str) -> None:
    if len(text) > MAX_URL_CHARACTERS or not _PLAIN.fullmatch(text):
        raise InvalidUrlError("a character that URLs do not have, or too many characters")


@lru_cache(maxsize=256)
def _parse_authority(authority: str) -> tuple[str, int | None]:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise InvalidUrlError("an invalid host, an invalid port or user information")
    port = int(match[2]) if match[2] else None
    if port is not None and port > 65535:
        raise InvalidUrlError("an invalid port")
    return _parse_host(match[1].lower()), port


def _parse_host(host: str) -> str:
    if host.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError as error:
            raise InvalidUrlError("an invalid IPv6 address") from error
    host = host.removesuffix(".")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _parse_ipv4(labels)
    if len(host) > _MAX_HOST_CHARACTERS or not all(map(_LABEL.fullmatch, labels)):
        raise InvalidUrlError("an invalid host name")
    return host


def _parse_ipv4(parts: list[str]) -> str:
    """Read 1 to 4 decimal, octal or hexadecimal numbers (WHATWG URL, "IPv4 parser")."""
    try:
        *first, last = (_parse_number(part) for part in parts)
        if len(first) > 3 or max(first, default=0) > 255 or last >= 256 ** (4 - len(first)):
            raise InvalidUrlError("an invalid IPv4 address")
    except ValueError as error:
        raise InvalidUrlError("an invalid IPv4 address") from error
    return str(ipaddress.IPv4Address(int.from_bytes(bytes(first).ljust(4, b"\0")) + last))


def _parse_number(part: str) -> int:
    if not _NUMBER.fullmatch(part) or len(part) > 16:
        raise ValueError(part)
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") and len(part) > 1 else 10)


def _remove_dot_segments(path: str) -> str:
    """Resolve ``.`` and ``..`` in a path (RFC 3986, section 5.2.4)."""
    segments: list[str] = []
    *folders, last = path.split("/")[1:]
    for segment in folders:
        if segment == "..":
            del segments[-1:]
        elif segment != ".":
            segments.append(segment)
    if last == "..":
        del segments[-1:]
    segments.append("" if last in {".", ".."} else last)
    return "/" + "/".join(segments)
