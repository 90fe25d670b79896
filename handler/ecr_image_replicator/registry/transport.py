"""Single requests on behalf of one registry: redirects, and where they and Authorization may go.

RFC 9110, section 15.4 (redirects), RFC 6454 (origins).
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import LostUploadError, ProtocolError
from ecr_image_replicator.registry.http.addresses import AddressScope, scope_of_name
from ecr_image_replicator.registry.http.hosts import api_host, registry_url
from ecr_image_replicator.registry.http.messages import status_text
from ecr_image_replicator.registry.http.urls import InvalidUrlError, Url

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.errors import Side
    from ecr_image_replicator.registry.http.hosts import Schemes
    from ecr_image_replicator.registry.http.messages import HttpRequest, StreamedResponse
    from ecr_image_replicator.registry.http.session import Session
    from ecr_image_replicator.registry.http.urls import Origin

_MAX_REDIRECTS: Final = 10
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
#: Of an error body, a list page or the response to an upload; manifests have a limit of their own.
MAX_BODY_BYTES: Final = 1024 * 1024


class Transport:
    """Sends single requests for one registry and follows their redirects.

    Authorization goes to one origin only, connections of a public registry never lead to a
    private address, and requests over TLS never continue without it.

    Parameters
    ----------
    registry
        ``host[:port]`` as references name it.
    side
        For errors.
    session
        The process's connections.
    schemes
        The hosts that use plain HTTP.
    deadline
        The invocation's.
    """

    def __init__(
        self, registry: str, side: Side, *, session: Session, schemes: Schemes, deadline: Deadline
    ) -> None:
        self.registry: Final = registry
        self.host: Final = api_host(registry)
        #: With the scheme that is tried first.
        self._root: Final = registry_url(self.host, schemes.candidates(self.host)[0])
        self._side = side
        self._session = session
        self._schemes = schemes
        self._deadline = deadline
        #: Of the last response; several threads replace it without the lock.
        self._scope: AddressScope | None = None
        #: Where bodies were redirected: an origin and a beginning of its paths, before and after.
        self._moved: tuple[tuple[Origin, str], tuple[Origin, str]] | None = None
        self._lock = threading.Lock()

    def is_registry_origin(self, url: Url) -> bool:
        """Tell whether a URL is the registry's own, where Authorization may go."""
        origin = url.origin
        schemes = self._schemes.candidates(self.host)
        return any(origin == registry_url(self.host, each).origin for each in schemes)

    def resolve(self, base: Url, location: str, what: str) -> Url:
        """Resolve a URL that a server sent, without its fragment.

        Parameters
        ----------
        base
            The URL of the response.
        what
            What the URL is, for errors: ``redirect``, ``upload location``, ``token service``.

        Raises
        ------
        ProtocolError
            It is malformed, leads from TLS to plain HTTP, or from a public registry to a private
            address.
        """
        if not location:
            raise self._invalid(f"no {what}")
        try:
            url = base.resolve(location)
        except InvalidUrlError as error:
            raise self._invalid(f"{what} with an invalid URL, {error}") from error
        return self.check(base, url, what)

    def check(self, base: Url, url: Url, what: str) -> Url:
        """Check a URL that a server sent, as `resolve` does; return it with the scheme https kept.

        A registry behind a proxy may write its own URLs without TLS: the host must be the same,
        and the port the same or HTTP's default. They stand for the address of the response.
        """
        if scope_of_name(url.host) > scope_of_name(self._root.host):
            raise self._invalid(
                f"blocked {what} from public registry {self.registry} to private address {url}"
            )
        if base.scheme == "https" and url.scheme == "http":
            if url.host != base.host or url.port not in {80, base.port}:
                raise self._invalid(f"blocked {what} from https to http, {url}")
            url = replace(url, scheme="https", port=base.port)
        return url

    def follow(
        self,
        request: HttpRequest,
        authorization: str | None,
        *,
        may_authorize: Callable[[Url], bool] | None = None,
        has_secret_body: bool = False,
        cleanup: Deadline | None = None,
    ) -> StreamedResponse:
        """Send a request, with its method and body again after a redirect that keeps them.

        Parameters
        ----------
        request
            With an absolute URL.
        authorization
            The Authorization header.
        may_authorize
            The URLs that it goes to; by default those of the registry's origin.
        has_secret_body
            Whether the body goes to those URLs only, too.
        cleanup
            The time of a request that is sent also after a stop; None for the invocation's.

        Raises
        ------
        LostUploadError
            A body that cannot be sent twice was redirected; the next one goes to the new place.
        ProtocolError
            A redirect is malformed, blocked or one too many.
        TransientError, UnavailableError
            The connection failed.
        """
        may_authorize = may_authorize or self.is_registry_origin
        if not request.is_repeatable:
            request = request.to(self._redirected_before(request.url))
        for _ in range(_MAX_REDIRECTS + 1):
            is_allowed = may_authorize(request.url)
            if has_secret_body and not is_allowed:
                raise self._invalid(
                    f"blocked redirect of credentials to {request.url}, another host"
                )
            sent = request.with_authorization(authorization if is_allowed else None)
            response = self._send(sent, cleanup or self._deadline)
            if response.status not in _REDIRECTS:
                return response
            location = response.header("location")
            response.read(MAX_BODY_BYTES)
            if not location:
                raise self._invalid(
                    f"redirect without a Location header ({status_text(response.status)})"
                )
            url = self.resolve(request.url, location, "redirect")
            request = self._redirect(request, response.status, url)
        raise self._invalid(f"more than {_MAX_REDIRECTS} redirects in a row", 307)

    def _redirect(self, request: HttpRequest, status: int, url: Url) -> HttpRequest:
        """Return the request that follows a redirect (RFC 9110, section 15.4).

        303 asks for a GET of another resource. The others repeat the request; 301 and 302 allow
        a POST to become a GET, which no registry means.
        """
        if status == 303 and request.method not in {"GET", "HEAD"}:
            headers = {k: v for k, v in request.headers.items() if k.lower() != "content-type"}
            return replace(request, method="GET", url=url, headers=headers, body=None)
        if not request.is_repeatable:
            self._remember_redirect(request.url, url)
            raise LostUploadError(
                f"redirected to {url} after the body was sent ({status_text(status)})"
            )
        return request.to(url)

    def _remember_redirect(self, before: Url, after: Url) -> None:
        """Learn a redirect of bodies that changes the origin or the beginning of the path."""
        old, new = before.path, after.path
        common = 0
        while common < min(len(old), len(new)) and old[-1 - common] == new[-1 - common]:
            common += 1
        with self._lock:
            self._moved = (
                (before.origin, old[: len(old) - common]),
                (after.origin, new[: len(new) - common]),
            )

    def _redirected_before(self, url: Url) -> Url:
        """Apply the redirect that an earlier body met, so that this one is sent once."""
        with self._lock:
            moved = self._moved
        if moved is None or url.origin != moved[0][0] or not url.path.startswith(moved[0][1]):
            return url
        (_, old), (origin, new) = moved
        path = new + url.path.removeprefix(old)
        target = Url(origin.scheme, origin.host, origin.port, path, url.query)
        return self.check(url, target, "redirect")

    def _send(self, request: HttpRequest, deadline: Deadline) -> StreamedResponse:
        is_registry_origin = self.is_registry_origin(request.url)
        response = self._session.send(
            request,
            side=self._side,
            timeout_seconds=deadline.remaining_seconds,
            deadline=deadline,
            max_scope=AddressScope.LOCAL if is_registry_origin else self._max_scope(),
            keeps_connection=is_registry_origin,
        )
        if is_registry_origin:
            self._scope = response.scope
        return response

    def _max_scope(self) -> AddressScope:
        """Return the innermost addresses that a registry may lead to: those of its own kind."""
        if self._scope is not None:
            return self._scope
        return scope_of_name(self._root.host)

    def _invalid(self, found: str, status: int = 0) -> ProtocolError:
        return ProtocolError(
            f"invalid response from {self.registry}: {found}", side=self._side, status=status
        )
