"""Signing in to a registry: challenges, tokens, and the header that comes of them; no I/O.

RFC 9110, section 11 (challenges), RFC 6750 (Bearer), RFC 7617 (Basic), and the token
specification of Docker's distribution project, which all registries follow.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ecr_image_replicator.errors import DeniedError, ProtocolError, Side
from ecr_image_replicator.registry.error_responses import CREDENTIALS
from ecr_image_replicator.registry.http.urls import InvalidUrlError, Url, parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from ecr_image_replicator.errors import Part
    from ecr_image_replicator.request.logins import Credentials, Login

_NAME: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_PARAMETER: Final = re.compile(
    rf"\s*({_NAME})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]*))\s*(?:,|$)"
)
_SCHEME: Final = re.compile(rf"\s*,?\s*({_NAME})(?:\s+|$|(?=,))")
_CLIENT_ID: Final = "ecr-image-replicator"
#: What a token service answers to a login that it does not take.
_REFUSALS: Final = frozenset({400, 401, 403})
#: What a token is taken to live when its server does not say (token specification).
_DEFAULT_LIFETIME_SECONDS: Final = 60.0
#: A token is no longer used so long before it expires: a body may take a while to be accepted.
_EXPIRY_MARGIN_SECONDS: Final = 15.0
#: A word of a refusal may be a shorter password by chance.
_MIN_SECRET_CHARACTERS: Final = 8


@dataclass(frozen=True, slots=True)
class Challenge:
    """One WWW-Authenticate challenge; scheme and parameter names in lowercase."""

    scheme: str
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What to ask a token service.

    `form` is None for a GET; the headers may hold a password and are never logged.
    """

    url: Url
    headers: dict[str, str] = field(repr=False)
    form: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What the token service answered."""

    status: int
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Authorization:
    header: str = field(repr=False)
    expires_at: float


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Read WWW-Authenticate headers; what is malformed is passed over."""
    challenges: list[Challenge] = []
    for value in values:
        position = 0
        while match := _SCHEME.match(value, position):
            position = match.end()
            parameters: dict[str, str] = {}
            while parameter := _PARAMETER.match(value, position):
                name, quoted, plain = parameter.groups()
                text = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
                parameters.setdefault(name.lower(), text)
                position = parameter.end()
            challenges.append(Challenge(match[1].lower(), parameters))
    return challenges


class Authenticator:
    """Keeps one repository's authorization, and says how to come by a new one.

    It does no I/O: `sign_in` is a generator that asks for token requests to be sent and is given
    their answers. One authenticator serves all streams of a side, across invocations;
    `lock` is held by whoever drives `sign_in`, so that many streams fetch one token.

    Parameters
    ----------
    registry
        ``host[:port]`` by which credentials are found.
    scopes
        ``repository:NAME:pull`` and their like, the most important first.
    credentials
        Where logins come from.
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
        self._registry = registry
        self._scopes = scopes
        self._credentials = credentials
        self._side = side
        self._clock = clock
        self._current: _Authorization | None = None
        self._login: Login | None = None
        self._is_ahead = False

    @property
    def authorization(self) -> str | None:
        """The Authorization header to send, None before the first challenge and after expiry."""
        current = self._current
        if current is None or current.expires_at <= self._clock():
            return None
        return current.header

    @property
    def login_origin(self) -> Part:
        """Where the login in use comes from; "" for an anonymous visit."""
        return self._login.origin if self._login else ""

    def redact(self, error_from_response: bytes) -> bytes:
        """Take out of a refusal's body what was sent to sign in with, should it be repeated there.

        A password of fewer than 8 characters, which may be part of any word, stays.
        """
        login, current = self._login, self._current
        sent = [current.header.partition(" ")[2]] if current else []
        if login:
            sent += [login.password, _basic(login).partition(" ")[2]]
        for secret in filter(lambda each: len(each) >= _MIN_SECRET_CHARACTERS, sent):
            for written in (secret, json.dumps(secret)[1:-1]):
                error_from_response = error_from_response.replace(written.encode(), "…".encode())
        return error_from_response

    def use_credentials(self, credentials: Credentials) -> None:
        """Take logins from here on; from equal credentials, which know the present invocation."""
        self._credentials = credentials

    def authenticate_preemptively(self) -> None:
        """Come by an authorization before any challenge, where the credentials allow it."""
        if self.authorization is None:
            login = self._credentials.find_preemptive(self._registry)
            if login is not None:
                self._use_ahead(login)

    def refresh_preemptive(self, rejected: str | None) -> bool:
        """Come by another authorization in place of one that was sent ahead and may have expired.

        Tells whether there is one: a registry that is not asked for a challenge need not answer
        an expired login with a 401.
        """
        login = self._login
        if not self._is_ahead or login is None or rejected is None:
            return False
        if rejected == _basic(login):
            renewed = self._credentials.renew(self._registry, login)
            if renewed is None:
                return False
            self._use_ahead(renewed)
        return True

    def sign_in(
        self, challenges: list[Challenge], rejected: str | None
    ) -> Generator[TokenRequest, TokenAnswer, None]:
        """Come by a new authorization.

        Parameters
        ----------
        challenges
            Of the 401 response.
        rejected
            The Authorization header that was refused, None when none was sent.

        Raises
        ------
        DeniedError
            There is no login, or the token service refuses it.
        ProtocolError
            The challenge or the token makes no sense.
        """
        self._choose_login(rejected)
        by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
        if "bearer" in by_scheme:
            yield from self._fetch_token(by_scheme["bearer"])
        elif "basic" in by_scheme:
            self._use_basic(rejected)
        else:
            raise ProtocolError(
                f"the {self._side} registry {self._registry} asks for another sign-in than those "
                "that are known (Basic, Bearer)",
                side=self._side,
                status=401,
            )

    def _use_ahead(self, login: Login) -> None:
        self._login, self._is_ahead = login, True
        self._current = _Authorization(_basic(login), login.expires_at)

    def _choose_login(self, rejected: str | None) -> None:
        if self._login is None or self._login.expires_at <= self._clock():
            self._login = self._credentials.find(self._registry)
        elif rejected is not None and rejected == _basic(self._login):
            renewed = self._credentials.renew(self._registry, self._login)
            if renewed is None:
                refused = self._denied("the registry refused the user name or password", 401)
                self._login = self._current = None
                raise refused
            self._login = renewed

    def _use_basic(self, rejected: str | None) -> None:
        if self._login is None:
            raise self._denied("it asks for a user name and a password", 401)
        header = _basic(self._login)
        if header == rejected:
            raise self._denied("the registry refused the user name or password", 401)
        self._current = _Authorization(header, self._login.expires_at)

    def _fetch_token(self, challenge: Challenge) -> Generator[TokenRequest, TokenAnswer, None]:
        try:
            realm = parse_url(challenge.parameters.get("realm", ""))
        except InvalidUrlError as error:
            raise ProtocolError(
                f"cannot authenticate to the {self._side} registry {self._registry}: invalid "
                f"response (401 with an invalid realm: {error})",
                side=self._side,
                status=401,
            ) from error
        asked_at = self._clock()
        service = challenge.parameters.get("service", "")
        answer = yield self._token_request(realm, service)
        for login in self._other_logins(answer):
            self._login = login
            answer = yield self._token_request(realm, service)
            if answer.status not in _REFUSALS:
                break
        if answer.status in _REFUSALS:
            raise self._denied(f"its token service answered {answer.status}", answer.status)
        self._current = self._parse_token(answer, asked_at)

    def _other_logins(self, answer: TokenAnswer) -> Iterator[Login | None]:
        """Give what else to try when the token service refuses a login: a new one, or none."""
        refused = self._login
        if answer.status not in _REFUSALS or refused is None:
            return
        renewed = self._credentials.renew(self._registry, refused)
        if renewed is not None:
            yield renewed
        if refused.is_optional:
            yield None

    def _token_request(self, realm: Url, service: str) -> TokenRequest:
        query = [("service", service)] if service else []
        login = self._login
        if login is not None and not login.username:
            # an identity token stands where the password would (Docker's "identitytoken")
            form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", login.password),
                ("client_id", _CLIENT_ID),
                ("scope", " ".join(self._scopes)),
            ]
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return TokenRequest(realm, headers, urlencode(query + form).encode())
        query += [("scope", scope) for scope in self._scopes]
        headers = {"Authorization": _basic(login)} if login else {}
        return TokenRequest(realm.with_parameters(query), headers)

    def _parse_token(self, answer: TokenAnswer, asked_at: float) -> _Authorization:
        document: Any = None
        if answer.status == 200:
            try:
                document = json.loads(answer.content)
            except (ValueError, RecursionError):
                document = None
        fields = document if isinstance(document, dict) else {}
        token = fields.get("token") or fields.get("access_token")
        if not isinstance(token, str) or not token or not _is_sendable(token):
            raise ProtocolError(
                f"the token service of the {self._side} registry {self._registry} answered "
                f"{answer.status} without a token",
                side=self._side,
                status=answer.status,
            )
        lifetime = fields.get("expires_in")
        if not isinstance(lifetime, int | float) or not 0 < lifetime < 10**6:
            lifetime = _DEFAULT_LIFETIME_SECONDS
        # a token that lives shorter than the margin would never be used: keep half its life
        margin = min(_EXPIRY_MARGIN_SECONDS, lifetime / 2)
        return _Authorization(f"Bearer {token}", asked_at + lifetime - margin)

    def _denied(self, found: str, status: int) -> DeniedError:
        given: tuple[Part, ...] = (
            ("the credentials from ", self._login.origin, " were used")
            if self._login
            else ("no credentials were given",)
        )
        return DeniedError(
            f"the {self._side} registry {self._registry} does not let us in: {found}; ",
            *given,
            ", see ",
            CREDENTIALS[self._side],
            side=self._side,
            status=status,
            code="UNAUTHORIZED",
        )


def _is_sendable(token: str) -> bool:
    """Tell whether a token can stand in a header without ending it."""
    return token.isascii() and token.isprintable()


def _basic(login: Login) -> str:
    pair = f"{login.username}:{login.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
