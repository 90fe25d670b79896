"""The authenticator with preemptive and with optional logins."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import pytest

from ecr_image_replicator.errors import DeniedError, Side
from ecr_image_replicator.registry.authenticator import Authenticator, Challenges
from ecr_image_replicator.registry.challenges import Challenge
from ecr_image_replicator.registry.http.urls import parse_url
from ecr_image_replicator.registry.tokens import TokenRequest, TokenResponse
from ecr_image_replicator.request.logins import Login

_BEARER = Challenges(
    parse_url("https://host/v2/"),
    [Challenge("bearer", {"realm": "https://auth.example/token", "service": "example"})],
)


@dataclass
class ListedCredentials:
    """Credentials that return the next listed login after each rejection."""

    logins: list[Login]
    is_preemptive: bool = True
    renewals: list[str] = field(default_factory=list)

    def find_preemptive(self, registry: str) -> Login | None:
        return self.find(registry) if self.is_preemptive else None

    def find(self, registry: str) -> Login | None:  # noqa: ARG002 - one registry
        return self.logins[0] if self.logins else None

    def renew(self, registry: str, rejected: Login) -> Login | None:
        self.renewals.append(rejected.password)
        self.logins.pop(0)
        return self.find(registry)


def _login(password: str, *, expires_at: float = float("inf"), optional: bool = False) -> Login:
    return Login("AWS", password, "ECR's sign-in", expires_at=expires_at, is_optional=optional)


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"AWS:{password}".encode()).decode()


def _authenticator(credentials: ListedCredentials, clock: list[float]) -> Authenticator:
    return Authenticator(
        "host", ("repository:a:pull",), credentials, Side.SOURCE, clock=lambda: clock[0]
    )


def _drive(
    authenticator: Authenticator, statuses: list[int], rejected: str | None
) -> list[TokenRequest]:
    requests: list[TokenRequest] = []
    steps = authenticator.authenticate(_BEARER, rejected, "pull host/a:1")
    try:
        requests.append(next(steps))
        while True:
            status = statuses.pop(0)
            requests.append(steps.send(TokenResponse(status, b'{"token": "t"}')))
    except StopIteration:
        return requests


def test_a_preemptive_login_is_sent_before_any_challenge() -> None:
    authenticator = _authenticator(ListedCredentials([_login("one")]), [0.0])
    assert authenticator.authorization is None

    authenticator.authenticate_preemptively()

    assert authenticator.authorization == _basic("one")
    assert authenticator.login_origin == "ECR's sign-in"


def test_other_credentials_are_not_sent_before_a_challenge() -> None:
    authenticator = _authenticator(ListedCredentials([_login("one")], is_preemptive=False), [0.0])

    authenticator.authenticate_preemptively()

    assert authenticator.authorization is None
    assert not authenticator.refresh_preemptive(None)


def test_an_expired_login_is_replaced_without_being_sent() -> None:
    clock = [0.0]
    credentials = ListedCredentials([_login("one", expires_at=60.0), _login("two")])
    authenticator = _authenticator(credentials, clock)
    authenticator.authenticate_preemptively()

    clock[0] = 60.0
    assert authenticator.authorization is None
    credentials.logins.pop(0)
    authenticator.authenticate_preemptively()

    assert authenticator.authorization == _basic("two")


def test_a_rejected_login_is_renewed_once_for_all_streams() -> None:
    credentials = ListedCredentials([_login("one"), _login("two")])
    authenticator = _authenticator(credentials, [0.0])
    authenticator.authenticate_preemptively()

    assert authenticator.refresh_preemptive(_basic("one"))
    assert authenticator.refresh_preemptive(_basic("one"))

    assert authenticator.authorization == _basic("two")
    assert credentials.renewals == ["one"]


def test_a_rejected_login_that_cannot_be_renewed_stays_rejected() -> None:
    credentials = ListedCredentials([_login("one")])
    authenticator = _authenticator(credentials, [0.0])
    authenticator.authenticate_preemptively()

    assert not authenticator.refresh_preemptive(_basic("one"))


def test_a_rejected_optional_login_falls_back_to_anonymous_access() -> None:
    credentials = ListedCredentials([_login("one", optional=True)], is_preemptive=False)
    authenticator = _authenticator(credentials, [0.0])

    requests = _drive(authenticator, [401, 200], None)

    assert [each.headers.get("Authorization") for each in requests] == [_basic("one"), None]
    assert authenticator.authorization == "Bearer t"
    assert authenticator.login_origin is None


def test_an_optional_login_is_renewed_before_anonymous_access() -> None:
    credentials = ListedCredentials(
        [_login("one", optional=True), _login("two", optional=True)], is_preemptive=False
    )
    authenticator = _authenticator(credentials, [0.0])

    requests = _drive(authenticator, [403, 200], None)

    assert [each.headers["Authorization"] for each in requests] == [_basic("one"), _basic("two")]


def test_a_rejected_configured_login_does_not_fall_back_to_anonymous_access() -> None:
    authenticator = _authenticator(ListedCredentials([_login("one")], is_preemptive=False), [0.0])

    with pytest.raises(DeniedError, match="with the credentials in ECR's sign-in"):
        _drive(authenticator, [401], None)
