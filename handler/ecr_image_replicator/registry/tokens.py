"""Requests to token services, and their responses.

The token specification of the distribution project ("Token Authentication Specification"), and
RFC 6749, section 6, for identity tokens.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

if TYPE_CHECKING:
    from ecr_image_replicator.registry.http.urls import Url
    from ecr_image_replicator.request.logins import Login

_CLIENT_ID: Final = "ecr-image-replicator"
#: The lifetime of a token whose response names none (token specification).
_DEFAULT_LIFETIME_SECONDS: Final = 60.0
_MAX_LIFETIME_SECONDS: Final = 10**6


@dataclass(slots=True, eq=False, repr=False)
class TokenRequest:
    """A request to a token service.

    `form` is None for a GET. The headers and the form may hold a password and are never logged.
    """

    url: Url
    headers: dict[str, str]
    form: bytes | None = None


@dataclass(slots=True, eq=False, repr=False)
class TokenResponse:
    """The response of a token service."""

    status: int
    content: bytes


@dataclass(slots=True, eq=False, repr=False)
class Token:
    """A bearer token and how long it is valid."""

    value: str
    lifetime_seconds: float


def build_token_request(
    realm: Url, service: str, scopes: tuple[str, ...], login: Login | None
) -> TokenRequest:
    """Build the request for a token.

    Parameters
    ----------
    realm
        The token service's URL.
    service
        The challenge's parameter of that name, "" when it has none.
    scopes
        The scopes of the token.
    login
        The credentials; None for an anonymous token. Without a user name its password is an
        identity token (Docker's ``identitytoken``), which is exchanged by POST.
    """
    query = [("service", service)] if service else []
    if login is not None and not login.username:
        form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", login.password),
            ("client_id", _CLIENT_ID),
            ("scope", " ".join(scopes)),
        ]
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return TokenRequest(realm, headers, urlencode(query + form, errors="replace").encode())
    query += [("scope", scope) for scope in scopes]
    headers = {"Authorization": encode_basic(login)} if login else {}
    return TokenRequest(realm.with_parameters(query), headers)


def parse_token(response: TokenResponse) -> Token | None:
    """Parse the response of a token service; None when it has no usable token."""
    document: Any = None
    if 200 <= response.status < 300:
        try:
            document = json.loads(response.content)
        except (ValueError, RecursionError):
            document = None
    fields = document if isinstance(document, dict) else {}
    value = fields.get("token") or fields.get("access_token")
    if not isinstance(value, str) or not value or not _fits_header(value):
        return None
    lifetime = fields.get("expires_in")
    if not isinstance(lifetime, int | float) or not 0 < lifetime < _MAX_LIFETIME_SECONDS:
        lifetime = _DEFAULT_LIFETIME_SECONDS
    return Token(value, lifetime)


def encode_basic(login: Login) -> str:
    """Return the Authorization header of a login (RFC 7617).

    A lone surrogate, which JSON can escape and UTF-8 cannot encode, becomes a question mark.
    """
    pair = f"{login.username}:{login.password}".encode(errors="replace")
    return f"Basic {base64.b64encode(pair).decode()}"


def _fits_header(token: str) -> bool:
    """Return whether a token can be a header's value without ending the header."""
    return token.isascii() and token.isprintable()
