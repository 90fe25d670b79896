"""Requests to one repository of one registry: retried, rate-limited, within the deadline.

OCI distribution specification 1.1. `registry.source` and `registry.destination` decide what a
response means.
"""

from __future__ import annotations

import itertools
import logging
import time
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import TransientError
from ecr_image_replicator.model.ecr_hosts import parse_ecr_host
from ecr_image_replicator.propagation import is_explicit_deny
from ecr_image_replicator.registry.authentication import AuthenticatedTransport
from ecr_image_replicator.registry.cancellation import UploadCanceller
from ecr_image_replicator.registry.denials import denied_elsewhere
from ecr_image_replicator.registry.error_bodies import describe_response, error_code
from ecr_image_replicator.registry.error_responses import (
    error_from_response,
    is_permanent,
    overloaded_error,
)
from ecr_image_replicator.registry.http.hosts import registry_url
from ecr_image_replicator.registry.http.messages import HttpRequest, HttpResponse
from ecr_image_replicator.registry.http.session import NotTlsError
from ecr_image_replicator.registry.http.urls import Url
from ecr_image_replicator.registry.pull_limits import pull_limit_error
from ecr_image_replicator.registry.transport import MAX_BODY_BYTES, Transport
from ecr_image_replicator.retries import (
    RETRYABLE_STATUSES,
    OverloadedError,
    SharedPause,
    parse_retry_after,
    retries_exhausted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.errors import Part, RegistryError, Side
    from ecr_image_replicator.model.digests import VerifiedStream
    from ecr_image_replicator.registry.authenticator import Authenticator
    from ecr_image_replicator.registry.http.hosts import Schemes
    from ecr_image_replicator.registry.http.messages import StreamedResponse
    from ecr_image_replicator.registry.http.session import Session
    from ecr_image_replicator.registry.rate_limiter import RateLimiter
    from ecr_image_replicator.retries import Backoff

_LOGGER: Final = logging.getLogger(__name__)
#: Retry statuses of a request whose failure is followed by a fallback, such as GET after HEAD.
RETRY_429_ONLY: Final = frozenset({429})


class RegistryClient:
    """Requests to one repository for one endpoint of one invocation.

    Parameters
    ----------
    registry
        ``host[:port]`` as references name it.
    side
        For errors.
    session
        The process's connections.
    authenticator
        The repository's authorization, kept across invocations.
    schemes
        The hosts that use plain HTTP.
    backoff
        How failures are retried.
    deadline
        The invocation's.
    pause
        The host's, shared by all streams.
    """

    def __init__(
        self,
        registry: str,
        side: Side,
        *,
        session: Session,
        authenticator: Authenticator,
        schemes: Schemes,
        backoff: Backoff,
        deadline: Deadline,
        pause: SharedPause,
    ) -> None:
        self.registry: Final = registry
        self._is_ecr = parse_ecr_host(registry) is not None
        self.side: Final = side
        self._session = session
        self._transport = Transport(
            registry, side, session=session, schemes=schemes, deadline=deadline
        )
        self._authenticated = AuthenticatedTransport(self._transport, authenticator)
        self._schemes = schemes
        self._backoff = backoff
        self._deadline = deadline
        self._pause = pause
        self.uploads: Final = UploadCanceller(self._authenticated)

    @property
    def login_origin(self) -> Part | None:
        """Where the credentials in use come from; None when there are none."""
        return self._authenticated.login_origin

    def request(
        self,
        method: str,
        target: str | Url,
        operation: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | VerifiedStream | Iterable[bytes | memoryview] | None = None,
        limit_bytes: int = MAX_BODY_BYTES,
        rate_limiter: RateLimiter | None = None,
        retry_statuses: frozenset[int] = RETRYABLE_STATUSES,
    ) -> HttpResponse:
        """Send a request and read its whole response, whatever its status.

        Parameters
        ----------
        target
            A path on the registry, or a URL that it sent.
        operation
            For errors: ``pull docker.io/acme/app:1.0``.
        limit_bytes
            The longest body that is accepted.
        rate_limiter
            Delays every attempt.
        retry_statuses
            The statuses after which the request is sent again; others are returned.

        Raises
        ------
        UnavailableError, ThrottledError
            Every attempt failed.
        TransientError
            It failed and the body cannot be sent again.
        OutOfTimeError
            The deadline has passed.
        """
        request = HttpRequest(method, self._url(target), headers or {}, body)

        denials = 0
        for attempt in itertools.count(1):
            if rate_limiter is not None:
                rate_limiter.wait(self._deadline)
            try:
                streamed = self._exchange(request, target, operation, retry_statuses)
                content = b"" if method == "HEAD" else streamed.read(limit_bytes)
            except TransientError as error:
                if rate_limiter is not None and isinstance(error, OverloadedError):
                    rate_limiter.decrease()
                self._wait_or_raise(request, attempt - denials, error, operation)
            else:
                response = self._whole(streamed, content)
                if rate_limiter is not None:
                    rate_limiter.increase()
                # the response to a HEAD has no reason, and the GET that follows it has
                is_final = method == "HEAD" or not request.is_repeatable
                if is_final or not self.is_pending_denial(response):
                    return response
                denials += 1
                if not self.wait_for_permission(denials, response, operation):
                    return response
        raise AssertionError  # itertools.count has no end

    def open(self, target: str, operation: str, headers: Mapping[str, str]) -> StreamedResponse:
        """Send a GET and return its response with the body unread; the caller closes it.

        Raises
        ------
        UnavailableError, ThrottledError, OutOfTimeError
            As `request` does.
        """
        request = HttpRequest("GET", self._url(target), headers)
        for attempt in itertools.count(1):
            try:
                return self._exchange(request, target, operation, RETRYABLE_STATUSES)
            except TransientError as error:
                self._wait_or_raise(request, attempt, error, operation)
        raise AssertionError  # itertools.count has no end

    def is_pending_denial(self, response: HttpResponse) -> bool:
        """Return whether ECR denied access and a new permission may still take effect."""
        return (
            response.status == 403
            and self._is_ecr
            and self._backoff.propagation is not None
            and self._backoff.propagation.is_open
            and not is_explicit_deny(response.content.decode(errors="replace"))
        )

    def wait_for_permission(self, denials: int, response: HttpResponse, operation: str) -> bool:
        """Wait after a denial that may pass, and return whether to send the request again.

        Parameters
        ----------
        denials
            Of this request, this one included.
        """
        propagation = self._backoff.propagation
        if propagation is None or not self.is_pending_denial(response):
            return False
        denial = f"cannot {operation}: access denied ({describe_response(response)})"
        return propagation.wait_after(denials, denial)

    def preconnect(self, count: int) -> None:
        """Open connections for so many requests at once, in the background; never fails."""
        host = self._transport.host
        first, *others = self._schemes.candidates(host)
        if not others:  # the scheme is known
            self._session.preconnect(registry_url(host, first), count, self._deadline)

    def read_error(self, response: StreamedResponse) -> HttpResponse:
        """Read an open response that is no success, and close it."""
        try:
            return self._whole(response, response.read(MAX_BODY_BYTES))
        finally:
            response.close()

    def resolve(self, response: HttpResponse, location: str, what: str) -> Url:
        """Resolve a URL that the registry sent, as `Transport.resolve` does."""
        return self._transport.resolve(response.url, location, what)

    def is_registry_origin(self, url: Url) -> bool:
        """Return whether a URL is the registry's own, where Authorization may go."""
        return self._transport.is_registry_origin(url)

    def error(self, response: HttpResponse, operation: str) -> RegistryError:
        """Return the error to raise for a response that is no success."""
        if response.status in {401, 403} and not self.is_registry_origin(response.url):
            return denied_elsewhere(
                f"cannot {operation}",
                describe_response(response),
                response.url.authority,
                side=self.side,
                status=response.status,
                code=error_code(response),
            )
        return error_from_response(
            response,
            operation,
            side=self.side,
            login_origin=self.login_origin,
            unused_origin=self._authenticated.unused_origin,
            has_token=self._authenticated.has_token,
        )

    def _wait_or_raise(
        self, request: HttpRequest, attempt: int, error: TransientError, operation: str
    ) -> None:
        if not request.is_repeatable:
            if error.retry_after_seconds is not None:
                self._pause.extend(error.retry_after_seconds)  # for the other streams
            raise error
        self._deadline.check(operation)
        if not self._backoff.wait_after(attempt, error, self._pause):
            raise retries_exhausted(error, self.side, attempt) from error
        _LOGGER.info("trying again: %s", error, extra={"attempt": attempt + 1})

    def _exchange(
        self,
        request: HttpRequest,
        target: str | Url,
        operation: str,
        retry_statuses: frozenset[int],
    ) -> StreamedResponse:
        """Send a request once, with the host's scheme. Raise for a status to retry."""
        self._deadline.check(operation)
        self._backoff.wait_for(self._pause, self.registry)

        def send(scheme: str) -> StreamedResponse:
            return self._authenticated.send(request.to(self._url(target, scheme)), operation)

        response = self._in_scheme(send)
        if response.status not in retry_statuses:
            return response
        whole = self._whole(response, response.read(MAX_BODY_BYTES))
        limited = pull_limit_error(whole, operation, self.side, self.registry, self.login_origin)
        if limited is not None:
            raise limited
        if whole.status == 500 and is_permanent(whole):
            raise self.error(whole, operation)
        after = parse_retry_after(whole.headers, now=time.time)
        raise overloaded_error(whole, operation, retry_after_seconds=after)

    def _in_scheme(self, send: Callable[[str], StreamedResponse]) -> StreamedResponse:
        """Send over TLS, or over plain HTTP if the host uses it."""
        host = self._transport.host
        *first, last = self._schemes.candidates(host)
        for scheme in (*first, last):
            try:
                response = send(scheme)
            except NotTlsError:
                if scheme == last:
                    raise
            else:
                self._schemes.learn(host, scheme)
                return response
        raise AssertionError  # the last scheme returns or raises

    def _url(self, target: str | Url, scheme: str = "") -> Url:
        if isinstance(target, Url):
            return target
        host = self._transport.host
        return registry_url(host, scheme or self._schemes.candidates(host)[0], target)

    def _whole(self, response: StreamedResponse, content: bytes) -> HttpResponse:
        is_error = response.status >= 400
        redact = self._authenticated.redact
        return HttpResponse.of(response, redact(content) if is_error else content, redact)
