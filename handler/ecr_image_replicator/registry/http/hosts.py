"""The host and the scheme of a registry's API."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import InvalidReferenceError
from ecr_image_replicator.model.references import DOCKER_HUB, is_loopback
from ecr_image_replicator.registry.http.urls import InvalidUrlError, Url, parse_url

if TYPE_CHECKING:
    from collections.abc import Iterable

_DOCKER_HUB_API: Final = "registry-1.docker.io"


def api_host(registry: str) -> str:
    """Return the host of a registry's API; Docker Hub's is another one than in references."""
    return _DOCKER_HUB_API if registry == DOCKER_HUB else registry


@lru_cache(maxsize=256)  # each request needs the same few URLs several times
def registry_url(host: str, scheme: str, target: str = "/") -> Url:
    """Return the URL of a path and query on a registry's ``host[:port]``.

    Raises
    ------
    InvalidReferenceError
        No URL can have that host.
    """
    try:
        return parse_url(f"{scheme}://{host}{target}")
    except InvalidUrlError as error:
        raise InvalidReferenceError(f"invalid registry host {host!r}: {error}") from error


class Schemes:
    """The schemes of hosts: by setting, and for loopback hosts by trial.

    A host that the setting names uses plain HTTP. Another loopback host is tried with TLS first;
    every other host uses TLS only.

    Parameters
    ----------
    plain_http
        ``host`` (any port) or ``host:port``.
    unverified
        ``host[:port]`` of registries that may also be plain HTTP.
    """

    def __init__(
        self, plain_http: Iterable[str] = (), *, unverified: frozenset[str] = frozenset()
    ) -> None:
        self._unverified = unverified
        self._plain_http = frozenset(name.strip().lower() for name in plain_http) - {""}
        self._learned: dict[str, str] = {}
        self._lock = threading.Lock()

    def candidates(self, host: str) -> tuple[str, ...]:
        """Return the schemes to try, in order; one when it is known."""
        if host in self._plain_http or host.rpartition(":")[0] in self._plain_http:
            return ("http",)
        if not is_loopback(host) and host not in self._unverified:
            return ("https",)
        with self._lock:
            learned = self._learned.get(host)
        return (learned,) if learned else ("https", "http")

    def learn(self, host: str, scheme: str) -> None:
        """Remember the scheme in which a host has responded."""
        with self._lock:
            self._learned[host] = scheme
