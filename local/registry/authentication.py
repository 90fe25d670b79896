"""Authorization of requests: the interface, no authentication, and HTTP Basic (RFC 7617)."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn, Protocol

from local.registry.errors import ErrorCode, RegistryError
from local.registry.routes import Action, Operation
from local.web import Request, Response


@dataclass(frozen=True, slots=True)
class Access:
    """A right that an operation needs: `pull`, `push` or `delete` on a repository."""

    repository: str
    action: str


class Authentication(Protocol):
    """A way to authenticate clients."""

    def authorize(self, request: Request, accesses: tuple[Access, ...]) -> None:
        """Accept a request.

        Raises
        ------
        RegistryError
            401 UNAUTHORIZED with WWW-Authenticate, or 403 DENIED.
        """
        ...

    def serve(self, request: Request) -> Response | None:
        """Return the response of the token service, or None for other paths."""
        ...


class NoAuthentication:
    """No authentication: every request is accepted."""

    def authorize(self, request: Request, accesses: tuple[Access, ...]) -> None:
        """Accept every request."""

    def serve(self, request: Request) -> Response | None:  # noqa: ARG002 - signature of Authentication
        """Return None: there is no endpoint."""
        return None


class BasicAuthentication:
    """HTTP Basic with a user name and password in each request. Each user has all rights.

    The challenge has `realm`.
    """

    def __init__(self, users: Mapping[str, str], *, realm: str = "loopback registry") -> None:
        self._users = dict(users)
        self._challenge = f'Basic realm="{realm}"'

    def authorize(self, request: Request, accesses: tuple[Access, ...]) -> None:  # noqa: ARG002 - signature of Authentication
        """Accept a user's request."""
        header = request.headers.get("authorization")
        if header is None:
            self._reject("authentication required")
        user = authenticated_user(header, self._users)
        if user is None:
            self._reject("wrong user name or password")

    def serve(self, request: Request) -> Response | None:  # noqa: ARG002 - signature of Authentication
        """Return None: there is no endpoint."""
        return None

    def _reject(self, message: str) -> NoReturn:
        raise RegistryError(
            ErrorCode.UNAUTHORIZED, message, headers={"WWW-Authenticate": self._challenge}
        )


def required_accesses(operation: Operation, request: Request) -> tuple[Access, ...]:
    """Return the rights that an operation requires. A mount also requires `pull` on its source."""
    repository = operation.repository
    match operation.action:
        case Action.PING:
            return ()
        case Action.DELETE_BLOB | Action.DELETE_MANIFEST:
            return (Access(repository, "delete"),)
        case Action.GET_BLOB | Action.GET_MANIFEST | Action.LIST_TAGS | Action.LIST_REFERRERS:
            return (Access(repository, "pull"),)
    push = (Access(repository, "pull"), Access(repository, "push"))
    source = request.parameter("from")
    if operation.action is Action.START_UPLOAD and source and source != repository:
        return (*push, Access(source, "pull"))
    return push


def parse_basic(header: str) -> tuple[str, str] | None:
    """Return the user name and password of an Authorization header, None if it is not Basic."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip()).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None


def authenticated_user(header: str, users: Mapping[str, str]) -> str | None:
    """Return the user of an Authorization header, None for wrong credentials."""
    credentials = parse_basic(header)
    if credentials is None:
        return None
    user, password = credentials
    expected = users.get(user)
    if expected is None or not hmac.compare_digest(password.encode(), expected.encode()):
        return None
    return user
