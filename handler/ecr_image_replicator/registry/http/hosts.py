"""Where a registry's API is, and in which scheme it is spoken to."""

from __future__ import annotations

import ipaddress
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urljoin, urlsplit

from ecr_image_replicator.model.references import DOCKER_HUB, is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable

_DOCKER_HUB_API: Final = "registry-1.docker.io"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def api_host(registry: str) -> str:
    """Give the host that serves a registry's API; Docker Hub's is not the one in its names."""
    return _DOCKER_HUB_API if registry == DOCKER_HUB else registry


class Schemes:
    """Knows which hosts are spoken to in plain HTTP, and learns it of loopback hosts.

    A host that is named for it is plain at once. Any other host on a loopback address is tried
    with TLS first; every other host is TLS only.

    Parameters
    ----------
    plain_http
        ``host`` (any port) or ``host:port``.
    """

    def __init__(self, plain_http: Iterable[str] = ()) -> None:
        self._plain_http = frozenset(name.strip().lower() for name in plain_http) - {""}
        self._learned: dict[str, str] = {}
        self._lock = threading.Lock()

    def candidates(self, host: str) -> tuple[str, ...]:
        """Give the schemes to try, in order; one when it is settled."""
        if host in self._plain_http or host.rpartition(":")[0] in self._plain_http:
            return ("http",)
        if not is_loopback(host):
            return ("https",)
        with self._lock:
            learned = self._learned.get(host)
        return (learned,) if learned else ("https", "http")

    def learn(self, host: str, scheme: str) -> None:
        """Remember in which scheme a host has answered."""
        with self._lock:
            self._learned[host] = scheme


def resolve_url(base: str, location: str) -> str | None:
    """Resolve a URL that a server gave; None when it is not http or https, or malformed."""
    try:
        url = urljoin(base, location)
        parts = urlsplit(url)
        is_usable = parts.scheme in _DEFAULT_PORTS and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return url if is_usable else None


def origin(url: str) -> tuple[str, str, int | None]:
    """Give scheme, host and port, which decide whether Authorization may go along (RFC 6454)."""
    parts = urlsplit(url)
    return _origin(parts.scheme, parts.netloc)


def is_private(url: str) -> bool:
    """Tell whether a URL's host is, by its name alone, one that the internet cannot reach."""
    return _is_inner_name(origin(url)[1])


@lru_cache(maxsize=256)
def _origin(scheme: str, authority: str) -> tuple[str, str, int | None]:
    """Take an authority apart; each request asks it several times, of a handful of hosts."""
    parts = SplitResult(scheme, authority, "", "", "")
    return scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(scheme)


@lru_cache(maxsize=256)
def _is_inner_name(host: str) -> bool:
    if host == "localhost" or host.endswith((".localhost", ".internal", ".local")):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def shown_url(url: str) -> str:
    """Give a URL without what may be secret in it: user, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
