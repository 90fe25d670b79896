"""Bearer tokens and their token service.

Implements the "Docker Registry v2 authentication via central service" flow: GET and POST for
`/token` on the registry's own server.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from local.registry.authentication import Access, authenticated_user
from local.registry.errors import ErrorCode, RegistryError
from local.web import OversizedBodyError, Request, Response, read_body

_PATH = "/token"
_FORM_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class TokenService:
    """Settings of a token service.

    The registry enforces `lifetime_seconds`. `states_expiry` is whether the response has
    `expires_in` and `issued_at`; `token_fields` are the names of the token in the response
    (`token`, `access_token` or both). `first_scope_only` reads only one `scope` parameter, as some
    services do. `identity_tokens` maps refresh tokens to users. `realm` is the service's URL on
    another host; by default it is `/token` on the registry's own.
    """

    service: str = "loopback-registry"
    lifetime_seconds: float = 300
    states_expiry: bool = True
    token_fields: tuple[str, ...] = ("token", "access_token")
    first_scope_only: bool = False
    identity_tokens: Mapping[str, str] | None = None
    realm: str | None = None


@dataclass(frozen=True, slots=True)
class _Grant:
    accesses: frozenset[Access]
    expires_at: float
    user: str | None


class BearerAuthentication:
    """Short-lived tokens for the requested repositories and actions.

    With `anonymous_pull` anonymous users receive tokens for pulls. A user of `users` receives all
    requested rights, or those of `permissions` (user -> repository -> actions, `*` for any
    repository). `clock` returns seconds and can be replaced.
    """

    def __init__(
        self,
        users: Mapping[str, str] | None = None,
        *,
        anonymous_pull: bool = True,
        permissions: Mapping[str, Mapping[str, Iterable[str]]] | None = None,
        token_service: TokenService | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._users = dict(users or {})
        self._anonymous_pull = anonymous_pull
        self._permissions = permissions
        self._tokens = token_service or TokenService()
        self._clock = clock
        self._grants: dict[str, _Grant] = {}
        self._lock = threading.Lock()

    def authorize(self, request: Request, accesses: tuple[Access, ...]) -> None:
        """Accept a request with a token for all its accesses; see `Authentication`."""
        if not _bearer_token(request):
            raise self._rejection(request, accesses, "authentication required", None)
        grant = self._grant(request)
        if grant is None or grant.expires_at <= self._clock():
            raise self._rejection(request, accesses, "the token is not valid", "invalid_token")
        if not grant.accesses.issuperset(accesses):
            raise self._rejection(request, accesses, "access denied", "insufficient_scope")

    def serve(self, request: Request) -> Response | None:
        """Return the token service's response: 200 with a token, 400 or 401."""
        if request.path != _PATH:
            return None
        if request.method == "GET":
            return self._get(request)
        if request.method == "POST":
            return self._post(request)
        return _token_error(405, "UNSUPPORTED", "GET or POST")

    def user(self, request: Request) -> str | None:
        """Return the user of a request's token, None for an anonymous token or none."""
        grant = self._grant(request)
        return grant.user if grant is not None else None

    def challenge(
        self, request: Request, accesses: tuple[Access, ...], message: str
    ) -> RegistryError:
        """Return the error for a token with insufficient permissions."""
        return self._rejection(request, accesses, message, "insufficient_scope")

    def revoke_all(self) -> None:
        """Revoke every token issued so far."""
        with self._lock:
            self._grants.clear()

    def _grant(self, request: Request) -> _Grant | None:
        with self._lock:
            return self._grants.get(_bearer_token(request) or "")

    def _get(self, request: Request) -> Response:
        user: str | None = None
        header = request.headers.get("authorization")
        if header is not None:
            user = authenticated_user(header, self._users)
            if user is None:
                return _token_error(401, "UNAUTHORIZED", "wrong user name or password")
        elif not self._anonymous_pull:
            return _token_error(401, "UNAUTHORIZED", "authentication required")
        scopes = list(request.parameters("scope"))
        offline = request.parameter("offline_token") == "true"
        return self._issue(user, scopes, with_identity_token=offline and user is not None)

    def _post(self, request: Request) -> Response:
        try:
            form = parse_qs(read_body(request, _FORM_LIMIT_BYTES).decode(errors="replace"))
        except OversizedBodyError as error:
            return _token_error(400, "UNSUPPORTED", str(error))
        user = self._form_user({name: values[0] for name, values in form.items()})
        if user is None:
            return _token_error(401, "UNAUTHORIZED", "the grant is not valid")
        return self._issue(user, form.get("scope", []), with_identity_token=False)

    def _form_user(self, form: Mapping[str, str]) -> str | None:
        if form.get("grant_type") == "refresh_token":
            return (self._tokens.identity_tokens or {}).get(form.get("refresh_token", ""))
        if form.get("grant_type") == "password":
            user = form.get("username", "")
            expected = self._users.get(user)
            given = form.get("password", "")
            if expected is not None and secrets.compare_digest(given.encode(), expected.encode()):
                return user
        return None

    def _issue(self, user: str | None, scopes: list[str], *, with_identity_token: bool) -> Response:
        texts = [text for scope in scopes for text in scope.split()]
        if self._tokens.first_scope_only:
            texts = texts[:1]
        accesses = frozenset(
            access for text in texts for access in _parse_scope(text) if self._may(user, access)
        )
        token = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            self._grants[token] = _Grant(accesses, now + self._tokens.lifetime_seconds, user)
        document: dict[str, Any] = dict.fromkeys(self._tokens.token_fields, token)
        if self._tokens.states_expiry:
            document["expires_in"] = int(self._tokens.lifetime_seconds)
            document["issued_at"] = datetime.fromtimestamp(now, UTC).isoformat()
        if with_identity_token:
            owners = (self._tokens.identity_tokens or {}).items()
            own_token = next((identity for identity, owner in owners if owner == user), None)
            if own_token is not None:
                document["refresh_token"] = own_token
        return Response(200, {"Content-Type": "application/json"}, json.dumps(document).encode())

    def _may(self, user: str | None, access: Access) -> bool:
        if self._anonymous_pull and access.action == "pull":
            return True
        if user is None or self._permissions is None:
            return user is not None
        held = self._permissions.get(user, {})
        return access.action in held.get(access.repository, held.get("*", ()))

    def _rejection(
        self, request: Request, accesses: tuple[Access, ...], message: str, error: str | None
    ) -> RegistryError:
        challenge = {
            "realm": self._tokens.realm or request.origin + _PATH,
            "service": self._tokens.service,
            "scope": _scope_text(accesses),
            "error": error or "",
        }
        parameters = ",".join(f'{name}="{value}"' for name, value in challenge.items() if value)
        return RegistryError(
            ErrorCode.UNAUTHORIZED, message, headers={"WWW-Authenticate": f"Bearer {parameters}"}
        )


def _bearer_token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _parse_scope(text: str) -> list[Access]:
    kind, _, rest = text.partition(":")
    repository, _, actions = rest.rpartition(":")
    if kind != "repository" or not repository:
        return []
    granted = ("pull", "push", "delete") if actions == "*" else actions.split(",")
    return [Access(repository, action) for action in granted]


def _scope_text(accesses: tuple[Access, ...]) -> str:
    by_repository: dict[str, list[str]] = {}
    for access in accesses:
        by_repository.setdefault(access.repository, []).append(access.action)
    return " ".join(
        f"repository:{repository}:{','.join(actions)}"
        for repository, actions in by_repository.items()
    )


def _token_error(status: int, code: str, message: str) -> Response:
    return RegistryError(code, message, status=status).response()
