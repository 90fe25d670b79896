"""Authenticated requests to one registry: responds to challenges, renews tokens in time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import LostUploadError
from ecr_image_replicator.registry.authenticator import Challenges
from ecr_image_replicator.registry.challenges import parse_challenges
from ecr_image_replicator.registry.error_responses import is_expired_token, overloaded_error
from ecr_image_replicator.registry.http.hosts import registry_url
from ecr_image_replicator.registry.http.messages import HttpRequest, HttpResponse, status_text
from ecr_image_replicator.registry.tokens import TokenResponse
from ecr_image_replicator.registry.transport import MAX_BODY_BYTES
from ecr_image_replicator.retries import RETRYABLE_STATUSES, parse_retry_after

if TYPE_CHECKING:
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.errors import Part
    from ecr_image_replicator.registry.authenticator import Authenticator
    from ecr_image_replicator.registry.http.addresses import AddressScope
    from ecr_image_replicator.registry.http.messages import StreamedResponse
    from ecr_image_replicator.registry.http.urls import Url
    from ecr_image_replicator.registry.tokens import TokenRequest
    from ecr_image_replicator.registry.transport import Transport
    from ecr_image_replicator.retries import OverloadedError

#: Statuses that another authorization may change.
_AUTH_STATUSES: Final = frozenset({400, 401, 403, 404})
#: A 500 for ``/v2/`` may be permanent where the registry needs no challenge.
_RETRIED_PINGS: Final = RETRYABLE_STATUSES - {500}
#: A kept token may be old, and the login that fetches the next one as well.
_MAX_AUTHENTICATIONS: Final = 2


class AuthenticatedTransport:
    """Sends requests with the authorization of one repository.

    Parameters
    ----------
    transport
        Sends them.
    authenticator
        The repository's authorization, kept across invocations.
    """

    def __init__(self, transport: Transport, authenticator: Authenticator) -> None:
        self._transport = transport
        self._authenticator = authenticator

    @property
    def login_origin(self) -> Part | None:
        """Where the credentials in use come from; None when there are none."""
        return self._authenticator.login_origin

    @property
    def unused_origin(self) -> Part | None:
        """The origin of credentials that are configured but were not requested, or None."""
        return self._authenticator.unused_origin

    @property
    def has_token(self) -> bool:
        """Whether a token service accepted the credentials in use."""
        return self._authenticator.has_token

    def redact(self, body: bytes) -> bytes:
        """Remove the credentials from an error body."""
        return self._authenticator.redact(body)

    def send(
        self, request: HttpRequest, operation: str, *, cleanup: Deadline | None = None
    ) -> StreamedResponse:
        """Send a request; authenticate and send it again when the registry wants that.

        Parameters
        ----------
        request
            With an absolute URL.
        operation
            For errors: ``pull docker.io/acme/app:1.0``.
        cleanup
            As of `Transport.follow`.

        Raises
        ------
        LostUploadError
            The body cannot be sent again, now with an authorization.
        DeniedError
            The credentials are missing or were rejected.
        """
        exchange = _Exchange(self._transport, self._authenticator, operation, cleanup)
        return exchange.send(request)


class _Exchange:
    """One request and what its authentication takes."""

    def __init__(
        self,
        transport: Transport,
        authenticator: Authenticator,
        operation: str,
        cleanup: Deadline | None,
    ) -> None:
        self._transport = transport
        self._authenticator = authenticator
        self._operation = operation
        self._cleanup = cleanup
        self._scheme = "https"
        #: The authorization that was fetched for this request.
        self._fresh: str | None = None

    def send(self, request: HttpRequest) -> StreamedResponse:
        self._scheme = request.url.scheme
        if self._transport.is_registry_origin(request.url):
            self._refresh()
        for _ in range(_MAX_AUTHENTICATIONS):
            authorization = self._authenticator.authorization or self._fresh
            response = self._follow(request, authorization)
            if authorization is None and _is_page(request, response):
                # it is not read, being as long as a manifest perhaps, and may be of another host
                if not self._authenticate_unchallenged(None):
                    return response
                response.close()
                continue
            if (
                response.status not in _AUTH_STATUSES
                or not self._transport.is_registry_origin(response.url)
                or (response.status == 404 and authorization is not None)
            ):
                return response
            rejected = _BufferedResponse(response)
            if not self._authenticate_after(rejected, authorization):
                return rejected
            if not request.is_repeatable:
                raise LostUploadError(
                    f"cannot {self._operation}: authentication failed "
                    f"({status_text(rejected.status)}), the token is no longer valid"
                )
        return self._follow(request, self._authenticator.authorization or self._fresh)

    def _follow(self, request: HttpRequest, authorization: str | None) -> StreamedResponse:
        return self._transport.follow(request, authorization, cleanup=self._cleanup)

    def _refresh(self) -> None:
        """Get an authorization before the request, where the way to one is known.

        So no body is sent, perhaps in vain, with a token that has just expired.
        """
        authenticator = self._authenticator
        if authenticator.authorization is not None:
            return
        with authenticator.lock:
            authenticator.authenticate_preemptively()
        if authenticator.last_challenges is not None:
            self._authenticate(authenticator.last_challenges, None)

    def _authenticate_after(self, response: _BufferedResponse, rejected: str | None) -> bool:
        """Get another authorization after an error; False when none can help."""
        authenticator = self._authenticator
        has_expired = rejected is not None and is_expired_token(response.whole)
        if rejected is not None and (has_expired or response.status != 401):
            with authenticator.lock:
                if authenticator.refresh_preemptive(rejected, has_expired=has_expired):
                    return True
        if response.status == 401:
            challenges = (
                self._challenges(response) or authenticator.last_challenges or self._probe()
            )
            if challenges is None:
                authenticator.look_up_credentials()  # the error says that they were not requested
                return False
            self._authenticate(challenges, rejected)
            return True
        if rejected is None:
            found = self._challenges(response)
            return response.status != 400 and self._authenticate_unchallenged(found)
        is_token = rejected.startswith("Bearer ")
        if authenticator.last_challenges is None or not is_token or not has_expired:
            return False
        self._authenticate(authenticator.last_challenges, rejected)
        return True

    def _authenticate_unchallenged(self, challenges: Challenges | None) -> bool:
        """Use the configured credentials before a 403, a 404 or a web page is believed.

        A registry that serves anonymous users may respond so for a private repository, and send
        its challenge from ``/v2/`` only (containerd#3291).
        """
        if not self._authenticator.look_up_credentials():
            return False
        challenges = challenges or self._probe()
        if challenges is None:
            return False
        self._authenticate(challenges, None)
        return True

    def _probe(self) -> Challenges | None:
        """Request ``/v2/`` for its challenge, once for each authenticator."""
        authenticator = self._authenticator
        with authenticator.lock:
            if not authenticator.is_probed:
                url = registry_url(self._transport.host, self._scheme, "/v2/")
                response = self._follow(HttpRequest("GET", url), None)
                content = response.read(MAX_BODY_BYTES)
                if response.status in _RETRIED_PINGS:
                    raise self._overloaded(response, content, self._transport.registry)
                if response.status in {401, 403}:
                    authenticator.offered = self._challenges(response)
                authenticator.is_probed = response.status != 500
            return authenticator.offered

    def _challenges(self, response: StreamedResponse) -> Challenges | None:
        found = parse_challenges(response.header_values("www-authenticate"))
        return Challenges(response.url, found) if found else None

    def _authenticate(self, challenges: Challenges, rejected: str | None) -> None:
        with self._authenticator.lock:
            current = self._authenticator.authorization
            if current is not None and current != rejected:
                return  # another stream has authenticated meanwhile
            steps = self._authenticator.authenticate(challenges, rejected, self._operation)
            try:
                request = next(steps)
                while True:
                    request = steps.send(self._fetch_token(challenges.url, request))
            except StopIteration:
                self._fresh = self._authenticator.latest_authorization

    def _fetch_token(self, base: Url, token_request: TokenRequest) -> TokenResponse:
        url = self._transport.check(base, token_request.url, "token service")
        method = "GET" if token_request.form is None else "POST"
        response = self._transport.follow(
            HttpRequest(method, url, token_request.headers, token_request.form),
            token_request.headers.get("Authorization"),
            may_authorize=lambda target: _is_same_service(url, target),
            has_secret_body=token_request.form is not None,
            cleanup=self._cleanup,
        )
        content = response.read(MAX_BODY_BYTES)
        if response.status in RETRYABLE_STATUSES:
            raise self._overloaded(response, content, url.authority)
        return TokenResponse(response.status, content)

    def _overloaded(self, response: StreamedResponse, content: bytes, host: str) -> OverloadedError:
        whole = HttpResponse.of(response, self._authenticator.redact(content))
        after = parse_retry_after(whole.headers, now=time.time)
        return overloaded_error(whole, f"authenticate with {host}", retry_after_seconds=after)


def _is_page(request: HttpRequest, response: StreamedResponse) -> bool:
    """Return whether a manifest is labelled as a web page: perhaps it is one to sign in."""
    media_type = response.header("content-type").partition(";")[0].strip().lower()
    is_manifest = "/manifests/" in request.url.path
    return is_manifest and response.status == 200 and media_type == "text/html"


def _is_same_service(service: Url, target: Url) -> bool:
    """Return whether a redirect of a token request stays: the same origin, or its TLS port."""
    is_upgrade = service.scheme == "http" and target.origin == ("https", service.host, 443)
    return is_upgrade or target.origin == service.origin


class _BufferedResponse:
    """A response whose body was read, for whoever expects one that was not."""

    def __init__(self, response: StreamedResponse) -> None:
        self.status: int = response.status
        self.url: Url = response.url
        self.scope: AddressScope | None = response.scope
        self.header = response.header
        self.header_values = response.header_values
        self._content = response.read(MAX_BODY_BYTES)
        self._position = 0

    @property
    def whole(self) -> HttpResponse:
        return HttpResponse.of(self, self._content)

    def read(self, limit_bytes: int) -> bytes:  # noqa: ARG002 - as of a response that was not read
        return self._content

    def readinto(self, buffer: memoryview, /) -> int:
        part = self._content[self._position : self._position + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def close(self) -> None:
        """Do nothing: the connection was given back."""
