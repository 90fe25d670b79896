from __future__ import annotations

import base64
import json
from collections.abc import Generator
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.builders import FakeClock

from ecr_image_replicator.errors import DeniedError, ProtocolError, ReplicationError, Side
from ecr_image_replicator.registry.authenticator import Authenticator, Challenges
from ecr_image_replicator.registry.challenges import Challenge
from ecr_image_replicator.registry.http.urls import parse_url
from ecr_image_replicator.registry.tokens import TokenRequest, TokenResponse
from ecr_image_replicator.request.credentials import InlineCredentials, NoCredentials
from ecr_image_replicator.request.logins import Credentials, Login

URL = parse_url("https://quay.io/v2/a/manifests/1")
REALM = "https://auth.example/token"
BEARER = Challenge("bearer", {"realm": REALM, "service": "registry"})
BASIC = Challenge("basic", {"realm": "https://quay.io/"})
SCOPES = ("repository:a:pull,push", "repository:b:pull")


class FakeCredentials:
    """Credentials that return their logins in order."""

    def __init__(self, *logins: Login) -> None:
        self._logins = list(logins)
        self.rejected: list[Login] = []

    def find_preemptive(self, registry: str) -> Login | None:  # noqa: ARG002 - never preemptive
        return None

    def find(self, registry: str) -> Login | None:
        assert registry == "quay.io"
        return self._logins.pop(0) if self._logins else None

    def renew(self, registry: str, rejected: Login) -> Login | None:
        self.rejected.append(rejected)
        return self.find(registry)


def _login(number: int = 1) -> Login:
    return Login(f"user{number}", f"hunter{number}", f"the secret {number}")


def _authenticator(
    credentials: Credentials | None = None,
    clock: FakeClock | None = None,
    scopes: tuple[str, ...] = SCOPES,
) -> Any:
    return Authenticator(
        "quay.io", scopes, credentials or NoCredentials(), Side.SOURCE, clock=clock or FakeClock()
    )


def _authenticate(
    authenticator: Authenticator,
    *responses: TokenResponse,
    challenges: list[Challenge] | None = None,
    rejected: str | None = None,
) -> list[TokenRequest]:
    """Drive an authentication with prepared responses, and return its token requests."""
    requests: list[TokenRequest] = []
    steps = _start(authenticator, challenges or [BEARER], rejected)
    try:
        requests.append(next(steps))
        for response in responses:
            requests.append(steps.send(response))  # noqa: PERF401 - StopIteration ends it
    except StopIteration:
        return requests
    raise AssertionError("more requests than prepared responses")


def _start(
    authenticator: Authenticator, challenges: list[Challenge], rejected: str | None = None
) -> Generator[TokenRequest, TokenResponse, None]:
    return authenticator.authenticate(Challenges(URL, challenges), rejected, "pull quay.io/a:1")


def _token(**fields: Any) -> TokenResponse:
    return TokenResponse(200, json.dumps(fields).encode())


def _scopes(request: TokenRequest) -> list[str]:
    return parse_qs(request.url.query or "")["scope"]


def _basic(login: Login) -> str:
    pair = f"{login.username}:{login.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def test_a_login_that_a_token_service_accepted_is_denied_access_by_a_later_challenge() -> None:
    """Harbor sends a Basic challenge for a token without the permission (harbor#18856)."""
    authenticator = _authenticator(FakeCredentials(_login()))
    _authenticate(authenticator, _token(token="t"))
    basic = [Challenge("basic", {"realm": "harbor"})]
    assert _authenticate(authenticator, challenges=basic, rejected="Bearer t") == []

    with pytest.raises(DeniedError, match=r"access denied \(401 Unauthorized from quay.io\) with"):
        _authenticate(authenticator, challenges=basic, rejected=authenticator.authorization)


def test_a_lone_surrogate_in_a_login_is_sent_as_a_question_mark() -> None:
    authenticator = _authenticator(FakeCredentials(Login("ann", "hunter22\ud800", "the secret")))
    _authenticate(authenticator, challenges=[BASIC])
    assert authenticator.authorization == _basic(Login("ann", "hunter22?", ""))
    assert authenticator.redact(b"not hunter22?!") == "not …!".encode()
    authenticator = _authenticator(FakeCredentials(Login("", "token\ud800", "the secret")))
    (request,) = _authenticate(authenticator, _token(token="t"))
    assert dict(parse_qsl((request.form or b"").decode()))["refresh_token"] == "token?"


def test_no_authorization_is_sent_before_a_challenge() -> None:
    authenticator = _authenticator(FakeCredentials(_login()))
    assert authenticator.authorization is None
    assert authenticator.login_origin is None


def test_anonymous_access_requests_a_token_without_a_login() -> None:
    authenticator = _authenticator()
    [request] = _authenticate(authenticator, _token(token="t"))
    assert request.headers == {}
    assert request.form is None
    assert str(request.url) == REALM
    assert parse_qsl(request.url.query or "") == [
        ("service", "registry"),
        ("scope", SCOPES[0]),
        ("scope", SCOPES[1]),
    ]
    assert authenticator.authorization == "Bearer t"


def test_the_query_of_a_realm_is_kept() -> None:
    challenge = Challenge("bearer", {"realm": f"{REALM}?account=x"})
    [request] = _authenticate(_authenticator(), _token(token="t"), challenges=[challenge])
    assert parse_qs(request.url.query or "")["account"] == ["x"]


def test_a_login_is_sent_to_the_token_service() -> None:
    authenticator = _authenticator(FakeCredentials(_login()))
    [request] = _authenticate(authenticator, _token(token="t"))
    assert request.headers == {"Authorization": _basic(_login())}
    assert authenticator.login_origin == "the secret 1"


@pytest.mark.parametrize(
    ("fields", "token"),
    [
        ({"token": "t"}, "t"),
        ({"access_token": "a"}, "a"),
        ({"token": "t", "access_token": "a"}, "t"),
        ({"token": "", "access_token": "a"}, "a"),
    ],
)
def test_token_and_access_token_are_accepted(fields: dict[str, str], token: str) -> None:
    authenticator = _authenticator()
    _authenticate(authenticator, _token(**fields))
    assert authenticator.authorization == f"Bearer {token}"


@pytest.mark.parametrize(
    ("lifetime", "usable_seconds"),
    [
        (300, 285),
        (None, 45),
        ("300", 45),
        (-1, 45),
        (0, 45),
        (10**9, 45),
        (float("nan"), 45),
        (20, 10),
        (4, 2),
    ],
)
def test_a_token_is_used_until_shortly_before_it_expires(
    lifetime: object, usable_seconds: float
) -> None:
    clock = FakeClock()
    authenticator = _authenticator(clock=clock)
    _authenticate(authenticator, _token(token="t", expires_in=lifetime))
    clock.now += usable_seconds - 0.01
    assert authenticator.authorization == "Bearer t"
    clock.now += 0.02
    assert authenticator.authorization is None


def test_the_lifetime_of_a_token_starts_with_its_request() -> None:
    clock = FakeClock()
    authenticator = _authenticator(clock=clock)
    steps = _start(authenticator, [BEARER])
    next(steps)
    clock.now += 284
    with pytest.raises(StopIteration):
        steps.send(_token(token="t", expires_in=300))
    assert authenticator.authorization == "Bearer t"
    clock.now += 2
    assert authenticator.authorization is None


@pytest.mark.parametrize(
    "response",
    [
        _token(),
        _token(token=7),
        _token(token="a\r\nX-Evil: 1"),
        _token(token="a\rb"),
        _token(token="ä"),
        TokenResponse(200, b"[]"),
        TokenResponse(200, b"\xff"),
        TokenResponse(200, b"[" * 100_000),
        TokenResponse(404, b'{"token": "t"}'),
    ],
)
def test_a_response_without_a_valid_token_is_an_error(response: TokenResponse) -> None:
    authenticator = _authenticator()
    with pytest.raises(
        ProtocolError, match=r"invalid response from the token service auth\.example, no token"
    ):
        _authenticate(authenticator, response)
    assert authenticator.authorization is None


@given(st.binary(), st.integers(200, 599))
def test_any_response_of_a_token_service_is_a_token_or_a_replication_error(
    content: bytes, status: int
) -> None:
    try:
        _authenticate(_authenticator(scopes=SCOPES[:1]), TokenResponse(status, content))
    except ReplicationError as error:
        assert "quay.io" in str(error)  # noqa: PT017 - a success is valid too


@pytest.mark.parametrize(
    "realm", ["", "ftp://a/b", "https://", "https://[::1", "https://a:99999/", "file:///"]
)
def test_an_invalid_realm_is_an_error(realm: str) -> None:
    with pytest.raises(ProtocolError, match="names no supported token service"):
        _authenticate(_authenticator(), challenges=[Challenge("bearer", {"realm": realm})])


@pytest.mark.parametrize("challenges", [[Challenge("digest", {})], [Challenge("negotiate", {})]])
def test_an_unsupported_scheme_is_an_error(challenges: list[Challenge]) -> None:
    with pytest.raises(ProtocolError, match="names no supported authentication scheme"):
        _authenticate(_authenticator(), challenges=challenges)


def test_a_relative_realm_is_resolved_against_the_challenged_url() -> None:
    challenge = Challenge("bearer", {"realm": "/token"})
    [request] = _authenticate(_authenticator(), _token(token="t"), challenges=[challenge])
    assert str(request.url) == "https://quay.io/token"


def test_basic_is_used_when_the_bearer_challenge_has_no_valid_realm() -> None:
    authenticator = _authenticator(FakeCredentials(_login()))
    bearer = Challenge("bearer", {"realm": "ftp://auth.example/"})
    assert _authenticate(authenticator, challenges=[bearer, BASIC]) == []
    assert authenticator.authorization == _basic(_login())


def test_bearer_is_preferred_to_basic() -> None:
    authenticator = _authenticator(FakeCredentials(_login()))
    _authenticate(authenticator, _token(token="t"), challenges=[BASIC, BEARER])
    assert authenticator.authorization == "Bearer t"


def test_basic_credentials_do_not_expire() -> None:
    clock = FakeClock()
    authenticator = _authenticator(FakeCredentials(_login()), clock)
    assert _authenticate(authenticator, challenges=[BASIC]) == []
    clock.now += 10**6
    assert authenticator.authorization == _basic(_login())


def test_a_basic_challenge_without_credentials_is_access_denied() -> None:
    with pytest.raises(
        DeniedError,
        match=r"access denied \(401 Unauthorized from quay\.io\) and no credentials were given",
    ):
        _authenticate(_authenticator(), challenges=[BASIC])


def test_a_rejected_login_is_renewed_once() -> None:
    credentials = FakeCredentials(_login(1), _login(2))
    authenticator = _authenticator(credentials)
    _authenticate(authenticator, challenges=[BASIC])
    _authenticate(authenticator, challenges=[BASIC], rejected=_basic(_login(1)))
    assert authenticator.authorization == _basic(_login(2))
    assert credentials.rejected == [_login(1)]


def test_the_error_for_a_rejected_login_names_its_origin() -> None:
    authenticator = _authenticator(InlineCredentials("user1", "hunter1", "SrcCreds"))
    _authenticate(authenticator, challenges=[BASIC])
    with pytest.raises(DeniedError) as caught:
        _authenticate(
            authenticator,
            challenges=[BASIC],
            rejected=_basic(Login("user1", "hunter1", "SrcCreds")),
        )
    assert "authentication failed (401 Unauthorized from quay.io)" in str(caught.value)
    assert "with the credentials in SrcCreds" in str(caught.value)
    assert "hunter1" not in str(caught.value)
    assert authenticator.authorization is None


def test_renewing_to_the_rejected_login_is_access_denied() -> None:
    authenticator = _authenticator(FakeCredentials(_login(1), _login(1)))
    _authenticate(authenticator, challenges=[BASIC])
    with pytest.raises(DeniedError):
        _authenticate(authenticator, challenges=[BASIC], rejected=_basic(_login(1)))


def test_a_rejected_token_is_replaced_with_the_same_login() -> None:
    credentials = FakeCredentials(_login(1), _login(2))
    authenticator = _authenticator(credentials)
    _authenticate(authenticator, _token(token="old"))
    [request] = _authenticate(authenticator, _token(token="new"), rejected="Bearer old")
    assert request.headers == {"Authorization": _basic(_login(1))}
    assert credentials.rejected == []
    assert authenticator.authorization == "Bearer new"


@pytest.mark.parametrize("status", [401, 403])
def test_a_login_rejected_by_the_token_service_is_renewed_once(
    status: int,
) -> None:
    credentials = FakeCredentials(_login(1), _login(2), _login(3))
    authenticator = _authenticator(credentials, scopes=SCOPES[:1])
    requests = _authenticate(authenticator, TokenResponse(status, b""), _token(token="t"))
    assert [each.headers["Authorization"] for each in requests] == [
        _basic(_login(1)),
        _basic(_login(2)),
    ]
    with pytest.raises(
        DeniedError,
        match=rf"authentication failed \({status} .* with the credentials in the secret 3",
    ):
        _authenticate(authenticator, *[TokenResponse(status, b"")] * 9)


def test_a_login_that_a_token_service_rejects_later_has_failed_to_authenticate() -> None:
    """The password has changed; the token service is on the registry's host, as Harbor's is."""
    own = [Challenge("bearer", {"realm": "/token"})]
    authenticator = _authenticator(FakeCredentials(_login()), scopes=SCOPES[:1])
    _authenticate(authenticator, _token(token="t"), challenges=own)

    with pytest.raises(DeniedError, match=r"authentication failed \(401 .* from quay.io\) with"):
        _authenticate(authenticator, TokenResponse(401, b""), challenges=own, rejected="Bearer t")


@pytest.mark.parametrize("status", [400, 401, 403])
def test_rejected_anonymous_access_is_not_retried(status: int) -> None:
    with pytest.raises(DeniedError, match="no credentials were given"):
        _authenticate(_authenticator(scopes=SCOPES[:1]), TokenResponse(status, b""))


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_rejected_optional_scope_is_not_requested_again(status: int) -> None:
    clock = FakeClock()
    authenticator = _authenticator(FakeCredentials(_login()), clock)
    requests = _authenticate(authenticator, TokenResponse(status, b""), _token(token="t"))
    assert [_scopes(each) for each in requests] == [list(SCOPES), [SCOPES[0]]]
    assert {each.headers["Authorization"] for each in requests} == {_basic(_login())}

    clock.sleep(3600)
    [request] = _authenticate(authenticator, _token(token="u"), rejected="Bearer t")
    assert _scopes(request) == [SCOPES[0]]


def test_an_identity_token_is_exchanged_by_post() -> None:
    login = Login("", "identity&token", "the secret hub")
    [request] = _authenticate(_authenticator(FakeCredentials(login)), _token(access_token="t"))
    assert request.url == parse_url(REALM)
    assert request.form is not None
    form = parse_qs(request.form.decode())
    assert form["grant_type"] == ["refresh_token"]
    assert form["refresh_token"] == ["identity&token"]
    assert form["scope"] == [" ".join(SCOPES)]
    assert form["service"] == ["registry"]
    assert "Authorization" not in request.headers
