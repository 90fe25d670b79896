"""Authorization tokens: passwords for the user `AWS`, valid for 12 hours (ECR User Guide)."""

from __future__ import annotations

import base64
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from local.ecr.callers import Caller

USER = "AWS"
# about the length of the passwords that AWS issues
_PASSWORD_BYTES = 1500


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """The result of GetAuthorizationToken; `expires_at` in seconds since 1970."""

    authorization_token: str = field(repr=False)
    expires_at: float


class Rejection(Enum):
    """The reason why a password is rejected."""

    INVALID = "invalid"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class _Grant:
    caller: Caller
    region: str
    expires_at: float


class AuthorizationTokens:
    """Issues tokens and looks up their callers.

    `lifetime_seconds` may be changed for later tokens.
    """

    def __init__(self, clock: Callable[[], float], lifetime_seconds: float = 12 * 3600) -> None:
        self.lifetime_seconds = lifetime_seconds
        self._clock = clock
        self._grants: dict[str, _Grant] = {}
        self._lock = threading.Lock()

    def issue(self, caller: Caller, region: str) -> IssuedToken:
        """Return a new token for a region."""
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        expires_at = self._clock() + self.lifetime_seconds
        with self._lock:
            self._grants[password] = _Grant(caller, region, expires_at)
        token = base64.b64encode(f"{USER}:{password}".encode()).decode()
        return IssuedToken(token, expires_at)

    def find_caller(self, user: str, password: str, region: str) -> Caller | Rejection:
        """Return the caller of a user name and password in a region."""
        with self._lock:
            grant = self._grants.get(password)
        if user != USER or grant is None or grant.region != region:
            return Rejection.INVALID
        return grant.caller if grant.expires_at > self._clock() else Rejection.EXPIRED

    def expire_all(self) -> None:
        """Expire every token issued so far."""
        with self._lock:
            self._grants = {
                password: _Grant(grant.caller, grant.region, float("-inf"))
                for password, grant in self._grants.items()
            }
