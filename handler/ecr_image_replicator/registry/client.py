"""Requests to one repository of one registry: signed in, redirected, retried, within the deadline.

OCI distribution specification 1.1; what a response means is the callers' business, in
`registry.source` and `registry.destination`.
"""

from __future__ import annotations

import itertools
import logging
import time
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import (
    ProtocolError,
    RegistryError,
    ReplicationError,
    Side,
    TransientError,
)
from ecr_image_replicator.registry.auth import TokenAnswer, parse_challenges
from ecr_image_replicator.registry.error_responses import (
    OverloadedError,
    describe_response,
    error_from_response,
    retries_exhausted,
)
from ecr_image_replicator.registry.http.addresses import AddressScope, scope_of_name
from ecr_image_replicator.registry.http.hosts import api_host, registry_url
from ecr_image_replicator.registry.http.messages import HttpRequest, HttpResponse
from ecr_image_replicator.registry.http.session import NotTlsError
from ecr_image_replicator.registry.http.urls import InvalidUrlError, Url
from ecr_image_replicator.registry.pull_limits import pull_limit_error
from ecr_image_replicator.retries import RETRYABLE_STATUSES, SharedPause, parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.errors import Part
    from ecr_image_replicator.model.digests import VerifiedStream
    from ecr_image_replicator.registry.auth import Authenticator, Challenge, TokenRequest
    from ecr_image_replicator.registry.http.hosts import Schemes
    from ecr_image_replicator.registry.http.messages import StreamedResponse
    from ecr_image_replicator.registry.http.session import Session
    from ecr_image_replicator.registry.rate_limiter import RateLimiter
    from ecr_image_replicator.retries import Backoff

_LOGGER: Final = logging.getLogger(__name__)
_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_TOKEN_BYTES: Final = 1024 * 1024
#: Enough for any error body, list page or upload answer; manifests bring their own bound.
_MAX_ANSWER_BYTES: Final = 1024 * 1024
_CLEANUP_TIMEOUT_SECONDS: Final = 5.0
#: After which a sign-in may help.
_SIGN_IN_STATUSES: Final = frozenset({400, 401, 403})
#: Of a DELETE after which there is no upload session.
_GONE_STATUSES: Final = frozenset({200, 202, 204, 404})


class RegistryClient:
    """Talks to one repository on behalf of one side, for one invocation.

    Parameters
    ----------
    registry
        ``host[:port]`` as references name it.
    side
        For errors.
    session
        The process's connections.
    authenticator
        The repository's, kept across invocations.
    schemes
        Which hosts are plain HTTP.
    backoff
        How failures are tried again.
    deadline
        The invocation's.
    pause
        The host's, kept across streams.
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
        self.side: Final = side
        self._host = api_host(registry)
        #: With the scheme that is tried first.
        self._root = registry_url(self._host, schemes.candidates(self._host)[0])
        self._session = session
        self._authenticator = authenticator
        self._schemes = schemes
        self._backoff = backoff
        self._deadline = deadline
        self._pause = pause
        self._scope: AddressScope | None = None

    @property
    def login_origin(self) -> Part:
        """Where the credentials in use come from, "" when there are none."""
        return self._authenticator.login_origin

    def request(
        self,
        method: str,
        target: str | Url,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | VerifiedStream | Iterable[bytes | memoryview] | None = None,
        limit_bytes: int = _MAX_ANSWER_BYTES,
        pace: RateLimiter | None = None,
    ) -> HttpResponse:
        """Send a request and read its whole answer, whatever its status.

        Parameters
        ----------
        target
            A path on the registry, or a URL that it sent.
        limit_bytes
            The longest body that makes sense.
        pace
            What every attempt keeps to.

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
        for attempt in itertools.count(1):
            if pace is not None:
                pace.wait(self._deadline)
            try:
                response = self._exchange(request, target)
                content = b"" if method == "HEAD" else response.read(limit_bytes)
            except TransientError as error:
                if pace is not None and isinstance(error, OverloadedError):
                    pace.decrease()
                self._wait_or_give_up(request, attempt, error)
            else:
                if pace is not None:
                    pace.increase()
                return self._answer(response, content)
        raise AssertionError  # itertools.count has no end

    def open(self, target: str, headers: Mapping[str, str]) -> StreamedResponse:
        """Send a GET and give its response with the body unread; the caller closes it.

        Raises
        ------
        UnavailableError, ThrottledError, OutOfTimeError
            As `request` does.
        """
        request = HttpRequest("GET", self._url(target), headers)
        for attempt in itertools.count(1):
            try:
                return self._exchange(request, target)
            except TransientError as error:
                self._wait_or_give_up(request, attempt, error)
        raise AssertionError  # itertools.count has no end

    def preconnect(self, count: int) -> None:
        """Open connections for so many requests at once, beside what goes on; it never fails."""
        first, *others = self._schemes.candidates(self._host)
        if not others:  # which of them is spoken is known
            self._session.preconnect(registry_url(self._host, first), count, self._deadline)

    def finish(self, response: StreamedResponse) -> HttpResponse:
        """Read an open response that turned out to be a refusal."""
        try:
            return self._answer(response, response.read(_MAX_ANSWER_BYTES))
        finally:
            response.close()

    def error_from_response(self, answer: HttpResponse, asked: str, subject: str) -> RegistryError:
        """Turn an answer into the error to raise, as `refusals.error_from_response` words it."""
        return error_from_response(
            answer,
            side=self.side,
            registry=self.registry,
            asked=asked,
            subject=subject,
            login_origin=self.login_origin,
        )

    def is_registry_origin(self, url: Url) -> bool:
        """Tell whether a URL is the registry's own, where Authorization may go."""
        schemes = self._schemes.candidates(self._host)
        return any(url.origin == registry_url(self._host, each).origin for each in schemes)

    def cancel_upload(self, url: Url) -> None:
        """Send a DELETE as well as the moment allows: short, twice at most, never raising."""
        try:
            self._block_private_redirect(url, "the address of an upload")
            self._authenticate_preemptively()
            try:
                self._cancel_authenticated(url)
            except TransientError:
                # a kept connection may have been cut together with the others
                self._cancel_authenticated(url)
        except ReplicationError as error:
            _LOGGER.warning("an upload session was left to expire: %s", error)

    def _cancel_authenticated(self, url: Url) -> None:
        sent, response = self._delete(url)
        if response.status == 401:
            challenges = parse_challenges(response.header_values("www-authenticate"))
            response.read(_MAX_ANSWER_BYTES)
            is_tls = response.url.scheme == "https"
            rejected = sent.headers.get("Authorization")
            self._sign_in(challenges, rejected, is_tls=is_tls, cleans_up=True)
            _, response = self._delete(url)
        answer = HttpResponse.of(response, response.read(_MAX_ANSWER_BYTES))
        if answer.status not in _GONE_STATUSES:
            _LOGGER.warning("an upload session was left to expire: %s", describe_response(answer))

    def _delete(self, url: Url) -> tuple[HttpRequest, StreamedResponse]:
        sent = self._authorized(HttpRequest("DELETE", url))
        return sent, self._send(sent, cleans_up=True)

    def _wait_or_give_up(self, request: HttpRequest, attempt: int, error: TransientError) -> None:
        if not request.is_repeatable:
            raise error
        if not self._backoff.wait_after(attempt, error, self._pause):
            raise retries_exhausted(error, self.side, attempt) from error
        _LOGGER.info("trying again: %s", error, extra={"attempt": attempt + 1})

    def _exchange(self, request: HttpRequest, target: str | Url) -> StreamedResponse:
        """Send once, in the scheme that the host speaks; an overload is an error."""
        self._deadline.check(f"ask the {self.side} {self.registry}")
        self._backoff.wait_for(self._pause, f"the {self.side} {self.registry}")
        *first, last = self._schemes.candidates(self._host)
        for scheme in first:
            try:
                return self._learn(scheme, self._signed_in(self._absolute(request, target, scheme)))
            except NotTlsError:
                continue
        return self._learn(last, self._signed_in(self._absolute(request, target, last)))

    def _learn(self, scheme: str, response: StreamedResponse) -> StreamedResponse:
        self._schemes.learn(self._host, scheme)
        if response.status not in RETRYABLE_STATUSES:
            return response
        content = response.read(_MAX_ANSWER_BYTES)
        answer = self._answer(response, content)
        limited = pull_limit_error(answer, self.side, self.registry, self.login_origin)
        if limited is not None:
            raise limited
        after = parse_retry_after(answer.headers, now=time.time)
        raise OverloadedError(answer, self.side, self.registry, retry_after_seconds=after)

    def _answer(self, response: StreamedResponse, content: bytes) -> HttpResponse:
        is_refusal = response.status >= 400
        shown = self._authenticator.redact(content) if is_refusal else content
        return HttpResponse.of(response, shown)

    def _url(self, target: str | Url, scheme: str | None = None) -> Url:
        if isinstance(target, Url):
            return target
        return registry_url(self._host, scheme or self._root.scheme, target)

    def _absolute(self, request: HttpRequest, target: str | Url, scheme: str) -> HttpRequest:
        if isinstance(target, str):
            return request.to(self._url(target, scheme))
        self._block_private_redirect(request.url, "the address of an upload")
        return request

    def _signed_in(self, request: HttpRequest) -> StreamedResponse:
        """Send, and when challenged sign in and send again; twice, as a kept secret may be old."""
        self._authenticate_preemptively()
        for _ in range(2):
            sent = self._authorized(request)
            response = self._followed(sent)
            rejected = sent.headers.get("Authorization")
            if response.status not in _SIGN_IN_STATUSES or not self.is_registry_origin(
                response.url
            ):
                return response
            if not self._may_sign_in(response, rejected):
                return response
            challenges = parse_challenges(response.header_values("www-authenticate"))
            response.read(_MAX_ANSWER_BYTES)
            if response.status == 401:
                is_tls = response.url.scheme == "https"
                self._sign_in(challenges, rejected, is_tls=is_tls)
            if not request.is_repeatable:
                raise TransientError(f"the {self.side} {self.registry} wanted a new sign-in")
        return self._followed(self._authorized(request))

    def _authenticate_preemptively(self) -> None:
        if self._authenticator.authorization is None:
            with self._authenticator.lock:
                self._authenticator.authenticate_preemptively()

    def _may_sign_in(self, response: StreamedResponse, rejected: str | None) -> bool:
        """Tell whether another sign-in may help: on a 401, and where a login sent ahead is old."""
        if response.status == 401:
            return True
        with self._authenticator.lock:
            return self._authenticator.refresh_preemptive(rejected)

    def _sign_in(
        self,
        challenges: list[Challenge],
        rejected: str | None,
        *,
        is_tls: bool,
        cleans_up: bool = False,
    ) -> None:
        with self._authenticator.lock:
            current = self._authenticator.authorization
            if current is not None and current != rejected:
                return  # another stream has signed in meanwhile
            flow = self._authenticator.sign_in(challenges, rejected)
            try:
                asked = next(flow)
                while True:
                    if is_tls:
                        self._require_tls_for_credentials(asked)
                    asked = flow.send(self._ask_token_service(asked, cleans_up=cleans_up))
            except StopIteration:
                return

    def _ask_token_service(self, asked: TokenRequest, *, cleans_up: bool) -> TokenAnswer:
        self._block_private_redirect(asked.url, "its token service")
        method = "GET" if asked.form is None else "POST"
        request = HttpRequest(method, asked.url, asked.headers, asked.form)
        response = self._send(request, cleans_up=cleans_up)
        if response.status in RETRYABLE_STATUSES:
            answer = self._answer(response, response.read(_MAX_TOKEN_BYTES))
            after = parse_retry_after(answer.headers, now=time.time)
            raise OverloadedError(answer, self.side, self.registry, retry_after_seconds=after)
        return TokenAnswer(response.status, response.read(_MAX_TOKEN_BYTES))

    def _require_tls_for_credentials(self, asked: TokenRequest) -> None:
        """Refuse to send a password in the clear because a registry that speaks TLS says so."""
        has_secret = asked.form is not None or "Authorization" in asked.headers
        if has_secret and asked.url.scheme == "http":
            raise ProtocolError(
                f"the {self.side} registry {self.registry} wants the credentials sent without TLS, "
                f"to {asked.url}; that is refused",
                side=self.side,
            )

    def _followed(self, request: HttpRequest) -> StreamedResponse:
        """Send, and follow the redirects of a read; Authorization stays with its host."""
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._send(request)
            location = response.header("location")
            if response.status not in _REDIRECTS or request.method not in {"GET", "HEAD"}:
                return response
            response.read(_MAX_ANSWER_BYTES)
            try:
                url = request.url.resolve(location)
            except InvalidUrlError as error:
                raise ProtocolError(
                    f"cannot follow a redirect of the {self.side} registry {self.registry}: "
                    f"invalid response ({response.status} with an invalid URL: {error})",
                    side=self.side,
                    status=response.status,
                ) from error
            self._block_private_redirect(url, "a redirect")
            request = self._authorized(request.to(url))
        raise ProtocolError(
            f"the {self.side} {self.registry} redirects without end", side=self.side, status=307
        )

    def _send(self, request: HttpRequest, *, cleans_up: bool = False) -> StreamedResponse:
        """Send within the deadline; what cleans up has its own short time, also after a stop."""
        left_seconds = self._deadline.remaining_seconds
        is_registry_origin = self.is_registry_origin(request.url)
        response = self._session.send(
            request,
            side=self.side,
            timeout_seconds=_CLEANUP_TIMEOUT_SECONDS if cleans_up else left_seconds,
            deadline=None if cleans_up else self._deadline,
            max_scope=AddressScope.LOCAL if is_registry_origin else self._max_scope(),
        )
        if is_registry_origin:
            self._scope = response.scope
        return response

    def _max_scope(self) -> AddressScope:
        """Say how far inward a registry may lead: no further than it is itself."""
        if self._scope is not None:
            return self._scope
        return scope_of_name(self._root.host)

    def _authorized(self, request: HttpRequest) -> HttpRequest:
        authorization = self._authenticator.authorization
        is_known = authorization is not None and self.is_registry_origin(request.url)
        return request.with_authorization(authorization if is_known else None)

    def _block_private_redirect(self, url: Url, what: str) -> None:
        if scope_of_name(url.host) > scope_of_name(self._root.host):
            raise ProtocolError(
                f"the public {self.side} registry {self.registry} leads, by {what}, to the "
                f"private address {url}; that is refused",
                side=self.side,
            )
