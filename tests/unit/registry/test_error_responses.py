from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.builders import encoded

from ecr_image_replicator.errors import (
    DeniedError,
    NotFoundError,
    RegistryError,
    Side,
    ThrottledError,
    TransientError,
    UnavailableError,
)
from ecr_image_replicator.registry.auth import TokenAnswer, TokenRequest
from ecr_image_replicator.registry.error_responses import (
    OverloadedError,
    describe_response,
    error_code,
    error_from_response,
    retries_exhausted,
)
from ecr_image_replicator.registry.http.messages import HttpRequest, HttpResponse
from ecr_image_replicator.registry.http.urls import parse_url

URL = "https://quay.io/v2/a/manifests/1?signature=hunter2"


def _answer(status: int, content: bytes = b"", **headers: str) -> HttpResponse:
    return _answer_with(headers, status, content)


def _answer_with(headers: dict[str, str], status: int = 429, content: bytes = b"") -> HttpResponse:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, names, content, parse_url(URL))


def _error(code: Any = "DENIED", message: Any = "no") -> bytes:
    return encoded({"errors": [{"code": code, "message": message}]})


def _refusal(
    answer: HttpResponse, side: Side = Side.SOURCE, login_origin: str = ""
) -> RegistryError:
    return error_from_response(
        answer,
        side=side,
        registry="quay.io",
        asked="give",
        subject="quay.io/a:1",
        login_origin=login_origin,
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, DeniedError),
        (403, DeniedError),
        (404, NotFoundError),
        (400, RegistryError),
        (405, RegistryError),
        (416, RegistryError),
    ],
)
def test_a_refusal_says_who_was_asked_for_what_and_what_came(
    status: int, kind: type[RegistryError]
) -> None:
    error = _refusal(_answer(status, _error("CODE", "the words")))
    assert type(error) is kind
    assert (error.status, error.code, error.side) == (status, "CODE", Side.SOURCE)
    for part in ("source registry quay.io", "give quay.io/a:1", f"{status} CODE: the words"):
        assert part in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    ("side", "login_origin", "hint"),
    [
        (Side.SOURCE, "", "no credentials were given, source_credentials takes them"),
        (Side.DESTINATION, "", "no credentials were given, destination_credentials takes them"),
        (Side.SOURCE, "the secret hub", "the credentials from the secret hub were used"),
    ],
)
def test_a_denial_says_whether_credentials_were_given(
    side: Side, login_origin: str, hint: str
) -> None:
    assert hint in str(_refusal(_answer(403, _error()), side, login_origin))


@pytest.mark.parametrize(
    ("code", "named"),
    [("NAME_UNKNOWN", "no such repository"), ("MANIFEST_UNKNOWN", "no such image")],
)
def test_what_is_missing_is_named(code: str, named: str) -> None:
    assert named in str(_refusal(_answer(404, _error(code))))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "404"),
        (b"<html>", "404"),
        (b"[" * 100_000, "404"),
        (b"\xff", "404"),
        (encoded([]), "404"),
        (encoded({"errors": []}), "404"),
        (encoded({"errors": "x"}), "404"),
        (encoded({"errors": ["x"]}), "404"),
        (_error(7, ["x"]), "404"),
        (_error("", "only words"), "404: only words"),
        (_error("CODE", None), "404 CODE"),
        (_error("CODE", "two\nlines\x1b[31m\u202e"), "404 CODE: two lines [31m"),
        (
            _error("CODE", f"see {URL} for more"),
            "404 CODE: see https://quay.io/v2/a/manifests/1 for more",
        ),
    ],
)
def test_an_error_body_is_shown_in_one_clean_line(content: bytes, words: str) -> None:
    assert describe_response(_answer(404, content)) == words


def test_somebody_elses_words_are_bounded() -> None:
    assert len(describe_response(_answer(404, _error("C" * 999, "m" * 99_999)))) < 300


@given(st.binary() | st.builds(_error, st.text(), st.text()))
def test_any_error_body_can_be_shown(content: bytes) -> None:
    answer = _answer(500, content)
    assert describe_response(answer).startswith("500")
    assert describe_response(answer).isprintable()
    assert len(error_code(answer)) <= 64


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (TransientError("it broke"), UnavailableError, 0),
        (
            OverloadedError(_answer(429, _error()), Side.SOURCE, "quay.io", retry_after_seconds=2),
            ThrottledError,
            429,
        ),
        (
            OverloadedError(_answer(503), Side.SOURCE, "quay.io", retry_after_seconds=None),
            UnavailableError,
            503,
        ),
    ],
)
def test_trouble_that_did_not_pass_says_how_often_it_was_tried(
    error: TransientError, kind: type[RegistryError], status: int
) -> None:
    assert str(retries_exhausted(error, Side.SOURCE, 1)).endswith("it was tried once, see retries")
    given_up = retries_exhausted(error, Side.SOURCE, 5)
    assert type(given_up) is kind
    assert given_up.status == status
    assert str(given_up) == f"{error}; it was tried 5 times, see retries"


def test_secrets_are_in_no_representation_of_messages() -> None:
    headers = {"Authorization": "Basic hunter2"}
    messages = [
        HttpRequest("GET", parse_url(URL), headers, b"hunter2"),
        _answer(307, b"hunter2", location=URL),
        TokenRequest(parse_url("https://auth.example/"), headers, b"hunter2"),
        TokenAnswer(200, b"hunter2"),
    ]
    assert "hunter2" not in f"{messages!r} {[str(each) for each in messages]}"
