from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.builders import FakeClock

from ecr_image_replicator.errors import DeniedError, ProtocolError, ReplicationError, Side
from ecr_image_replicator.registry.auth import (
    Authenticator,
    Challenge,
    TokenAnswer,
    TokenRequest,
    parse_challenges,
)
from ecr_image_replicator.registry.http.urls import parse_url
from ecr_image_replicator.request.credentials import InlineCredentials, NoCredentials
from ecr_image_replicator.request.logins import Credentials, Login

REALM = "https://auth.example/token"
BEARER = Challenge("bearer", {"realm": REALM, "service": "registry"})
BASIC = Challenge("basic", {"realm": "https://quay.io/"})
SCOPES = ("repository:a:pull,push", "repository:b:pull")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        ("Basic", [Challenge("basic", {})]),
        ("", []),
        (
            f'Bearer realm="{REALM}",service="s",scope="repository:a:pull,push"',
            [
                Challenge(
                    "bearer", {"realm": REALM, "service": "s", "scope": "repository:a:pull,push"}
                )
            ],
        ),
        (
            'Bearer Realm = "r" , SERVICE=s, Basic realm="b, c=d"',
            [
                Challenge("bearer", {"realm": "r", "service": "s"}),
                Challenge("basic", {"realm": "b, c=d"}),
            ],
        ),
        (
            'NTLM, Negotiate abc==, Basic realm="x"',
            [
                Challenge("ntlm", {}),
                Challenge("negotiate", {"abc": "="}),
                Challenge("basic", {"realm": "x"}),
            ],
        ),
        (r'Basic realm="a \"b\" \\c"', [Challenge("basic", {"realm": r'a "b" \c'})]),
        ('Basic realm="first",realm="second"', [Challenge("basic", {"realm": "first"})]),
    ],
)
def test_a_header_is_taken_apart_into_its_challenges(value: str, expected: list[Challenge]) -> None:
    assert parse_challenges([value]) == expected


def test_challenges_of_several_headers_are_put_together() -> None:
    assert [each.scheme for each in parse_challenges(["Bearer a=b", "Basic c=d"])] == [
        "bearer",
        "basic",
    ]


@given(st.lists(st.text(alphabet='Bearbsic="\\, \t@:/é\x00', max_size=60) | st.text(), max_size=3))
def test_any_header_is_read_without_an_end(values: list[str]) -> None:
    for challenge in parse_challenges(values):
        assert challenge.scheme == challenge.scheme.lower()


class FakeCredentials:
    """Gives one login after the other."""

    def __init__(self, *logins: Login) -> None:
        self._logins = list(logins)
        self.rejected: list[Login] = []

    def find_preemptive(self, registry: str) -> Login | None:  # noqa: ARG002 - they wait
        return None

    def find(self, registry: str) -> Login | None:
        assert registry == "quay.io"
        return self._logins.pop(0) if self._logins else None

    def renew(self, registry: str, rejected: Login) -> Login | None:
        self.rejected.append(rejected)
        return self.find(registry)


def _login(number: int = 1) -> Login:
    return Login(f"user{number}", f"hunter{number}", f"the secret {number}")


def _authenticator(credentials: Credentials | None = None, clock: FakeClock | None = None) -> Any:
    return Authenticator(
        "quay.io", SCOPES, credentials or NoCredentials(), Side.SOURCE, clock=clock or FakeClock()
    )


def _sign_in(
    authenticator: Authenticator,
    *answers: TokenAnswer,
    challenges: list[Challenge] | None = None,
    rejected: str | None = None,
) -> list[TokenRequest]:
    """Drive a sign-in with prepared answers; give what it asked for."""
    asked: list[TokenRequest] = []
    flow = authenticator.sign_in(challenges or [BEARER], rejected)
    try:
        asked.append(next(flow))
        for answer in answers:
            asked.append(flow.send(answer))  # noqa: PERF401 - a generator cannot pass StopIteration on
    except StopIteration:
        return asked
    raise AssertionError("more was asked than there are answers")


def _token(**fields: Any) -> TokenAnswer:
    return TokenAnswer(200, json.dumps(fields).encode())


def _basic(login: Login) -> str:
    pair = f"{login.username}:{login.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def test_before_any_challenge_nothing_is_sent() -> None:
    authenticator = _authenticator(FakeCredentials(_login()))
    assert authenticator.authorization is None
    assert authenticator.login_origin == ""


def test_an_anonymous_visit_asks_for_a_token_without_a_login() -> None:
    authenticator = _authenticator()
    [asked] = _sign_in(authenticator, _token(token="t"))
    assert asked.headers == {}
    assert asked.form is None
    assert str(asked.url) == REALM
    assert parse_qsl(asked.url.query or "") == [
        ("service", "registry"),
        ("scope", SCOPES[0]),
        ("scope", SCOPES[1]),
    ]
    assert authenticator.authorization == "Bearer t"


def test_a_realm_with_a_query_keeps_it() -> None:
    challenge = Challenge("bearer", {"realm": f"{REALM}?account=x"})
    [asked] = _sign_in(_authenticator(), _token(token="t"), challenges=[challenge])
    assert parse_qs(asked.url.query or "")["account"] == ["x"]


def test_a_login_goes_to_the_token_service() -> None:
    authenticator = _authenticator(FakeCredentials(_login()))
    [asked] = _sign_in(authenticator, _token(token="t"))
    assert asked.headers == {"Authorization": _basic(_login())}
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
def test_the_token_stands_under_either_name(fields: dict[str, str], token: str) -> None:
    authenticator = _authenticator()
    _sign_in(authenticator, _token(**fields))
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
    _sign_in(authenticator, _token(token="t", expires_in=lifetime))
    clock.now += usable_seconds - 0.01
    assert authenticator.authorization == "Bearer t"
    clock.now += 0.02
    assert authenticator.authorization is None


def test_a_tokens_life_counts_from_when_it_was_asked_for() -> None:
    clock = FakeClock()
    authenticator = _authenticator(clock=clock)
    flow = authenticator.sign_in([BEARER], None)
    next(flow)
    clock.now += 284
    with pytest.raises(StopIteration):
        flow.send(_token(token="t", expires_in=300))
    assert authenticator.authorization == "Bearer t"
    clock.now += 2
    assert authenticator.authorization is None


@pytest.mark.parametrize(
    "answer",
    [
        _token(),
        _token(token=7),
        _token(token="a\r\nX-Evil: 1"),
        _token(token="a\rb"),
        _token(token="ä"),
        TokenAnswer(200, b"[]"),
        TokenAnswer(200, b"\xff"),
        TokenAnswer(200, b"[" * 100_000),
        TokenAnswer(404, b'{"token": "t"}'),
    ],
)
def test_an_answer_without_a_usable_token_is_no_sign_in(answer: TokenAnswer) -> None:
    authenticator = _authenticator()
    with pytest.raises(ProtocolError, match="without a token"):
        _sign_in(authenticator, answer)
    assert authenticator.authorization is None


@given(st.binary(), st.integers(200, 599))
def test_whatever_a_token_service_answers_is_a_token_or_our_error(
    content: bytes, status: int
) -> None:
    try:
        _sign_in(_authenticator(), TokenAnswer(status, content))
    except ReplicationError as error:
        assert "quay.io" in str(error)  # noqa: PT017 - a success is as good


@pytest.mark.parametrize(
    "realm", ["", "/token", "ftp://a/b", "https://", "https://[::1", "https://a:99999/", "file:///"]
)
def test_a_realm_that_is_no_url_is_refused(realm: str) -> None:
    with pytest.raises(ProtocolError, match="invalid realm"):
        _sign_in(_authenticator(), challenges=[Challenge("bearer", {"realm": realm})])


@pytest.mark.parametrize("challenges", [[Challenge("digest", {})], [Challenge("negotiate", {})]])
def test_another_way_of_signing_in_is_refused(challenges: list[Challenge]) -> None:
    with pytest.raises(ProtocolError, match="another sign-in"):
        _sign_in(_authenticator(), challenges=challenges)


def test_bearer_is_preferred_to_basic() -> None:
    authenticator = _authenticator(FakeCredentials(_login()))
    _sign_in(authenticator, _token(token="t"), challenges=[BASIC, BEARER])
    assert authenticator.authorization == "Bearer t"


def test_basic_sends_the_login_itself_for_good() -> None:
    clock = FakeClock()
    authenticator = _authenticator(FakeCredentials(_login()), clock)
    assert _sign_in(authenticator, challenges=[BASIC]) == []
    clock.now += 10**6
    assert authenticator.authorization == _basic(_login())


def test_basic_without_a_login_is_denied() -> None:
    with pytest.raises(DeniedError, match="no credentials were given, see source_credentials"):
        _sign_in(_authenticator(), challenges=[BASIC])


def test_a_refused_login_is_renewed_once() -> None:
    credentials = FakeCredentials(_login(1), _login(2))
    authenticator = _authenticator(credentials)
    _sign_in(authenticator, challenges=[BASIC])
    _sign_in(authenticator, challenges=[BASIC], rejected=_basic(_login(1)))
    assert authenticator.authorization == _basic(_login(2))
    assert credentials.rejected == [_login(1)]


def test_a_login_that_cannot_be_renewed_is_denied_by_its_origin() -> None:
    authenticator = _authenticator(InlineCredentials("user1", "hunter1", "SrcCreds"))
    _sign_in(authenticator, challenges=[BASIC])
    with pytest.raises(DeniedError) as caught:
        _sign_in(
            authenticator,
            challenges=[BASIC],
            rejected=_basic(Login("user1", "hunter1", "SrcCreds")),
        )
    assert "the credentials from SrcCreds were used" in str(caught.value)
    assert "hunter1" not in str(caught.value)
    assert authenticator.authorization is None


def test_a_renewal_that_gives_the_refused_login_again_is_denied() -> None:
    authenticator = _authenticator(FakeCredentials(_login(1), _login(1)))
    _sign_in(authenticator, challenges=[BASIC])
    with pytest.raises(DeniedError):
        _sign_in(authenticator, challenges=[BASIC], rejected=_basic(_login(1)))


def test_a_refused_token_is_fetched_anew_with_the_same_login() -> None:
    credentials = FakeCredentials(_login(1), _login(2))
    authenticator = _authenticator(credentials)
    _sign_in(authenticator, _token(token="old"))
    [asked] = _sign_in(authenticator, _token(token="new"), rejected="Bearer old")
    assert asked.headers == {"Authorization": _basic(_login(1))}
    assert credentials.rejected == []
    assert authenticator.authorization == "Bearer new"


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_service_that_refuses_the_login_is_asked_once_more_with_a_new_one(
    status: int,
) -> None:
    credentials = FakeCredentials(_login(1), _login(2), _login(3))
    authenticator = _authenticator(credentials)
    asked = _sign_in(authenticator, TokenAnswer(status, b""), _token(token="t"))
    assert [each.headers["Authorization"] for each in asked] == [
        _basic(_login(1)),
        _basic(_login(2)),
    ]
    with pytest.raises(DeniedError, match=f"answered {status}; .* the secret 3 were used"):
        _sign_in(authenticator, *[TokenAnswer(status, b"")] * 9)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_token_service_that_refuses_anonymous_visits_is_asked_once(status: int) -> None:
    with pytest.raises(DeniedError, match="no credentials were given"):
        _sign_in(_authenticator(), TokenAnswer(status, b""))


def test_an_identity_token_is_exchanged_by_post() -> None:
    login = Login("", "identity&token", "the secret hub")
    [asked] = _sign_in(_authenticator(FakeCredentials(login)), _token(access_token="t"))
    assert asked.url == parse_url(REALM)
    assert asked.form is not None
    form = parse_qs(asked.form.decode())
    assert form["grant_type"] == ["refresh_token"]
    assert form["refresh_token"] == ["identity&token"]
    assert form["scope"] == [" ".join(SCOPES)]
    assert form["service"] == ["registry"]
    assert "Authorization" not in asked.headers
