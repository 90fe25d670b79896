"""Kept connections to a bounded number of hosts, directly or through the environment's proxies."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import urllib3
import urllib3.exceptions

from ecr_image_replicator.registry.http.pools import ClientContext, connection_use, new_pool
from ecr_image_replicator.registry.http.proxies import find_proxy
from ecr_image_replicator.trust_store import new_unverified_context, shared_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ecr_image_replicator.registry.http.pools import ConnectionUse
    from ecr_image_replicator.registry.http.proxies import Proxy
    from ecr_image_replicator.registry.http.urls import Origin, Url

#: A registry chooses the hosts that it redirects to: without a limit it could use up all
#: descriptors of the process.
MAX_ORIGINS: Final = 64
_NO_RETRIES: Final = urllib3.Retry(total=False)


@dataclass(slots=True, eq=False, repr=False)
class Route:
    """The connections to one origin.

    Attributes
    ----------
    proxy
        None for a direct connection.
    is_kept
        Whether connections are kept between invocations: not for hosts that registries only
        redirect to.
    """

    pool: Any
    proxy: Proxy | None
    is_kept: bool = False


class Connections:
    """Connections to at most 64 origins; the least recently used are closed.

    Parameters
    ----------
    per_origin
        The most connections that are kept for one origin.
    unverified
        ``host[:port]`` of servers whose certificates are not verified.
    """

    def __init__(self, per_origin: int, *, unverified: frozenset[str] = frozenset()) -> None:
        self._per_origin = per_origin
        self._unverified = unverified
        if unverified:
            # the user asked for it
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._lock = threading.Lock()
        self._routes: OrderedDict[Origin, Route] = OrderedDict()

    def open(
        self,
        method: str,
        url: Url,
        *,
        headers: Mapping[str, str],
        body: object,
        use: ConnectionUse,
        send_seconds: float,
        response_seconds: float,
        keeps: bool,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and return its response with the body unread; follow no redirect.

        Parameters
        ----------
        headers
            With Content-Length or Transfer-Encoding.
        body
            bytes, or an iterable of bytes-like objects, each sent as it is; None for no body.
        use
            What the exchange needs of its connection.
        send_seconds
            The longest wait for a byte to be sent.
        response_seconds
            The longest wait for a byte of the response's head.
        keeps
            Whether connections to this origin are kept between invocations.

        Raises
        ------
        urllib3.exceptions.HTTPError, http.client.HTTPException, OSError
            There is no response, or an invalid one.
        """
        while True:
            route = self._route_to(url, keeps=keeps)
            forwards = route.proxy is not None and url.scheme == "http"
            try:
                with connection_use(use):
                    response: urllib3.BaseHTTPResponse = route.pool.urlopen(
                        method,
                        url.absolute_target if forwards else url.target,
                        body=body,
                        headers={"Host": url.authority, **headers},
                        retries=_NO_RETRIES,
                        redirect=False,
                        assert_same_host=False,
                        timeout=urllib3.Timeout(connect=send_seconds, read=response_seconds),
                        preload_content=False,
                        decode_content=False,
                    )
            except urllib3.exceptions.ClosedPoolError:
                continue  # it was the least recently used origin; nothing was sent
            return response

    def proxy_for(self, url: Url) -> Proxy | None:
        """Return the proxy through which an origin was last reached, if any."""
        with self._lock:
            route = self._routes.get(url.origin)
        return route.proxy if route else None

    def preconnect(self, url: Url, count: int, new_use: Callable[[], ConnectionUse]) -> None:
        """Open connections until `count` are idle, each in a thread; not through proxies."""
        route = self._route_to(url, keeps=True)
        if route.proxy is None:
            route.pool.preconnect(count, new_use)

    def close_unkept(self) -> None:
        """Close the idle connections to origins that registries only redirected to."""
        with self._lock:
            unkept = [origin for origin, route in self._routes.items() if not route.is_kept]
            closed = [self._routes.pop(origin) for origin in unkept]
        for route in closed:
            route.pool.close()

    def close(self) -> None:
        """Close every idle connection."""
        with self._lock:
            closed = list(self._routes.values())
            self._routes.clear()
        for route in closed:
            route.pool.close()

    def _route_to(self, url: Url, *, keeps: bool) -> Route:
        closed: list[Route] = []
        with self._lock:
            route = self._routes.get(url.origin)
            if route is None:
                route = self._routes[url.origin] = self._new_route(url)
            route.is_kept = route.is_kept or keeps
            self._routes.move_to_end(url.origin)
            while len(self._routes) > MAX_ORIGINS:
                closed.append(self._routes.popitem(last=False)[1])
        for each in closed:
            each.pool.close()
        return route

    def _new_route(self, url: Url) -> Route:
        proxy = find_proxy(url)
        if url.scheme == "https" and url.authority in self._unverified:
            pool = new_pool(
                url.origin,
                proxy,
                self._per_origin,
                new_unverified_context(ClientContext),
                verifies=False,
                proxy_context=shared_context(ClientContext) if proxy and proxy.is_tls else None,
            )
            return Route(pool, proxy)
        needs_tls = url.scheme == "https" or (proxy is not None and proxy.is_tls)
        context = shared_context(ClientContext) if needs_tls else None
        return Route(new_pool(url.origin, proxy, self._per_origin, context), proxy)
