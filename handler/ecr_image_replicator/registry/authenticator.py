"""The authorization of one repository: credentials, challenges and tokens, without I/O.

RFC 9110, section 11 (challenges), RFC 6750 (Bearer), RFC 7617 (Basic), and the distribution
project's token specification. `registry.authentication` sends the requests.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from ecr_image_replicator.errors import ProtocolError
from ecr_image_replicator.registry.denials import access_denied_error, authentication_error
from ecr_image_replicator.registry.http.messages import status_text
from ecr_image_replicator.registry.http.urls import InvalidUrlError, Url
from ecr_image_replicator.registry.tokens import (
    Token,
    TokenRequest,
    TokenResponse,
    build_token_request,
    encode_basic,
    parse_token,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from ecr_image_replicator.errors import DeniedError, Part, Side
    from ecr_image_replicator.registry.challenges import Challenge
    from ecr_image_replicator.request.logins import Credentials, Login

#: Statuses by which a token service rejects a login.
_REJECTED: Final = frozenset({400, 401, 403})
#: A token is replaced so long before it expires: a body may take a while to be accepted.
_EXPIRY_MARGIN_SECONDS: Final = 15.0
#: A shorter password may be part of any word of an error body.
_MIN_SECRET_CHARACTERS: Final = 8


class Challenges(NamedTuple):
    """The challenges of one response, and its URL, against which relative realms resolve."""

    url: Url
    challenges: Sequence[Challenge]


@dataclass(slots=True, eq=False, repr=False)
class _Authorization:
    header: str
    expires_at: float


class Authenticator:
    """The authorization of one repository, and how to get a new one.

    It does no I/O: `authenticate` is a generator that yields token requests and is sent their
    responses. All streams of an endpoint share one authenticator, across invocations. Whoever
    drives `authenticate` holds `lock`, so that many streams fetch one token.

    Parameters
    ----------
    registry
        ``host[:port]`` by which credentials are found.
    scopes
        ``repository:NAME:pull`` and the like. All but the first are optional.
    credentials
        The configured logins.
    side
        For errors.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        registry: str,
        scopes: tuple[str, ...],
        credentials: Credentials,
        side: Side,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lock: Final = threading.Lock()
        #: The challenges of the last authorization; None before the first.
        self.last_challenges: Challenges | None = None
        #: Whether ``/v2/`` was requested for a challenge, and what it offered.
        self.is_probed = False
        self.offered: Challenges | None = None
        self._registry = registry
        self._scopes = scopes
        self._credentials = credentials
        self._side = side
        self._clock = clock
        self._current: _Authorization | None = None
        self._login: Login | None = None
        self._unrequested: Login | None = None
        #: The login for which a token service issued a token.
        self._accepted: Login | None = None
        self._is_preemptive = False

    @property
    def authorization(self) -> str | None:
        """The Authorization header to send; None before the first challenge and after expiry."""
        current = self._current
        if current is None or current.expires_at <= self._clock():
            return None
        return current.header

    @property
    def latest_authorization(self) -> str | None:
        """The last authorization, even if it has expired since."""
        return self._current.header if self._current else None

    @property
    def login_origin(self) -> Part | None:
        """Where the credentials in use come from; None for anonymous access."""
        return self._login.origin if self._login else None

    @property
    def has_token(self) -> bool:
        """Whether a token service accepted the credentials in use."""
        return self._login is not None and self._login is self._accepted

    @property
    def unused_origin(self) -> Part | None:
        """The origin of credentials that are configured but were not requested, or None."""
        return self._unrequested.origin if self._unrequested and self._login is None else None

    def look_up_credentials(self) -> bool:
        """Look up the login, keep it for error messages, and return whether there is one.

        It may read a secret.
        """
        if self._login is None:
            self._unrequested = self._credentials.find(self._registry)
        return self._login is not None or self._unrequested is not None

    def redact(self, body: bytes) -> bytes:
        """Remove the credentials from the body of an error response that repeats them.

        A password of fewer than 8 characters, which may be part of any word, stays.
        """
        login, current = self._login, self._current
        secrets = [current.header.partition(" ")[2]] if current else []
        if login:
            secrets += [login.password, encode_basic(login).partition(" ")[2]]
        for secret in filter(lambda each: len(each) >= _MIN_SECRET_CHARACTERS, secrets):
            for written in (secret, json.dumps(secret)[1:-1]):
                body = body.replace(written.encode(errors="replace"), "…".encode())
        return body

    def use_credentials(self, credentials: Credentials) -> None:
        """Replace the credentials by an equal object with the current invocation's deadline."""
        self._credentials = credentials

    def authenticate_preemptively(self) -> None:
        """Get an authorization before any challenge, where the credentials allow it."""
        if self.authorization is None:
            login = self._credentials.find_preemptive(self._registry)
            if login is not None:
                self._use_preemptively(login)

    def refresh_preemptive(self, rejected: str | None, *, has_expired: bool = False) -> bool:
        """Replace a preemptive authorization that was rejected and may have expired.

        Returns False when there is no other. A registry that sends no challenge need not
        respond to an expired login with a 401.

        Parameters
        ----------
        has_expired
            Whether the registry says that it has.
        """
        login = self._login
        if not self._is_preemptive or login is None or rejected is None:
            return False
        if rejected == encode_basic(login):
            if has_expired:
                login = replace(login, expires_at=self._clock())
            renewed = self._credentials.renew(self._registry, login)
            if renewed is None:
                return False
            self._use_preemptively(renewed)
        return True

    def authenticate(
        self, challenges: Challenges, rejected: str | None, operation: str
    ) -> Generator[TokenRequest, TokenResponse, None]:
        """Get a new authorization.

        Parameters
        ----------
        challenges
            Of the 401 response.
        rejected
            The Authorization header that was rejected, None when none was sent.
        operation
            What the authorization is for, for errors: ``pull docker.io/acme/app:1.0``.

        Raises
        ------
        DeniedError
            There are no credentials, or the token service rejects them.
        ProtocolError
            No challenge is supported, or the token service returns no token.
        """
        self._choose_login(rejected, operation)
        bearers = [each for each in challenges.challenges if each.scheme == "bearer"]
        realms = [
            (realm, each.parameters.get("service", ""))
            for each in bearers
            if (realm := _realm(challenges.url, each)) is not None
        ]
        if realms:
            yield from self._fetch_token(*realms[0], operation)
        elif any(each.scheme == "basic" for each in challenges.challenges):
            self._use_basic(rejected, operation)
        else:
            named = "token service" if bearers else "authentication scheme (Basic, Bearer)"
            raise ProtocolError(
                f"cannot {operation}: invalid response from {self._registry}, its challenge names "
                f"no supported {named}",
                side=self._side,
                status=401,
            )
        self.last_challenges = challenges

    def _use_preemptively(self, login: Login) -> None:
        self._login, self._is_preemptive = login, True
        self._current = _Authorization(encode_basic(login), login.expires_at)

    def _choose_login(self, rejected: str | None, operation: str) -> None:
        if self._login is None or self._login.expires_at <= self._clock():
            self._login = self._credentials.find(self._registry)
        elif rejected is not None and rejected == encode_basic(self._login):
            renewed = self._credentials.renew(self._registry, self._login)
            if renewed is None:
                error = self._denied(operation, self._registry, 401)
                self._login = self._current = None
                raise error
            self._login = renewed

    def _use_basic(self, rejected: str | None, operation: str) -> None:
        if self._login is None:
            raise self._denied(operation, self._registry, 401)
        header = encode_basic(self._login)
        if header == rejected:
            raise self._denied(operation, self._registry, 401)
        self._current = _Authorization(header, self._login.expires_at)

    def _fetch_token(
        self, realm: Url, service: str, operation: str
    ) -> Generator[TokenRequest, TokenResponse, None]:
        requested_at = self._clock()
        response = yield build_token_request(realm, service, self._scopes, self._login)
        if response.status in _REJECTED and len(self._scopes) > 1:
            # the login may have no access to the repository to mount from, which is optional
            own = self._scopes[:1]
            response = yield build_token_request(realm, service, own, self._login)
            if response.status not in _REJECTED:
                self._scopes = own
        for login in self._other_logins(response):
            self._login = login
            response = yield build_token_request(realm, service, self._scopes, self._login)
            if response.status not in _REJECTED:
                break
        if response.status in _REJECTED:
            self._accepted = None
            raise self._denied(operation, realm.authority, response.status)
        token = parse_token(response)
        if token is None:
            raise ProtocolError(
                f"cannot {operation}: invalid response from the token service {realm.authority}, "
                f"no token ({status_text(response.status)})",
                side=self._side,
                status=response.status,
            )
        self._accepted = self._login
        self._current = self._expiring(token, requested_at)

    def _other_logins(self, response: TokenResponse) -> Iterator[Login | None]:
        """Yield what to try after the token service rejected a login: a new one, or none."""
        rejected = self._login
        if response.status not in _REJECTED or rejected is None:
            return
        renewed = self._credentials.renew(self._registry, rejected)
        if renewed is not None:
            yield renewed
        if rejected.is_optional:
            yield None

    def _expiring(self, token: Token, requested_at: float) -> _Authorization:
        # a token that lives shorter than the margin would never be used: keep half its life
        margin = min(_EXPIRY_MARGIN_SECONDS, token.lifetime_seconds / 2)
        expires_at = requested_at + token.lifetime_seconds - margin
        return _Authorization(f"Bearer {token.value}", expires_at)

    def _denied(self, operation: str, host: str, status: int) -> DeniedError:
        failed, found = f"cannot {operation}", f"{status_text(status)} from {host}"
        if self.has_token and host == self._registry:
            # Harbor sends a Basic challenge for a token without the permission (harbor#18856)
            return access_denied_error(
                failed,
                found,
                side=self._side,
                login_origin=self.login_origin,
                unused_origin=None,
                status=status,
                code="UNAUTHORIZED",
            )
        return authentication_error(
            failed,
            found,
            side=self._side,
            login_origin=self.login_origin,
            status=status,
        )


def _realm(base: Url, challenge: Challenge) -> Url | None:
    """Return the URL of a challenge's token service; None when it names none."""
    realm = challenge.parameters.get("realm", "")
    try:
        return base.resolve(realm) if realm else None
    except InvalidUrlError:
        return None
