from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.builders import encoded

from ecr_image_replicator.errors import (
    DeniedError,
    NotFoundError,
    ProtocolError,
    RegistryError,
    Side,
    ThrottledError,
    TransientError,
    UnavailableError,
)
from ecr_image_replicator.registry.error_bodies import describe_response, error_code
from ecr_image_replicator.registry.error_responses import (
    error_from_response,
    is_expired_token,
    is_permanent,
    not_a_registry,
    overloaded_error,
)
from ecr_image_replicator.registry.http.messages import HttpRequest, HttpResponse
from ecr_image_replicator.registry.http.urls import parse_url
from ecr_image_replicator.registry.tokens import TokenRequest, TokenResponse
from ecr_image_replicator.retries import retries_exhausted

URL = "https://quay.io/v2/a/manifests/1?signature=hunter2"
HTML = {"content-type": "text/html; charset=utf-8"}


def _response(
    status: int, content: bytes = b"", headers: dict[str, str] | None = None
) -> HttpResponse:
    return HttpResponse(status, headers or {}, content, parse_url(URL))


def _error(code: Any = "DENIED", message: Any = "no", **fields: Any) -> bytes:
    return _errors({"code": code, "message": message, **fields})


def _errors(*errors: dict[str, Any]) -> bytes:
    return encoded({"errors": list(errors)})


def _raised(
    response: HttpResponse, side: Side = Side.SOURCE, login_origin: str | None = None
) -> RegistryError:
    return error_from_response(response, "pull quay.io/a:1", side=side, login_origin=login_origin)


@pytest.mark.parametrize(
    ("status", "kind", "keyword"),
    [
        (401, DeniedError, "access denied"),
        (403, DeniedError, "access denied"),
        (404, NotFoundError, "not found"),
        (410, NotFoundError, "not found"),
        (400, RegistryError, "request rejected"),
        (405, RegistryError, "request rejected"),
        (413, RegistryError, "request too large"),
        (416, RegistryError, "request rejected"),
        (501, UnavailableError, "unavailable"),
        (204, ProtocolError, "invalid response"),
        (302, ProtocolError, "invalid response"),
    ],
)
def test_an_error_names_the_operation_and_the_response(
    status: int, kind: type[RegistryError], keyword: str
) -> None:
    error = _raised(_response(status, _error("CODE", "the words")))
    assert type(error) is kind
    assert (error.status, error.code, error.side) == (status, "CODE", Side.SOURCE)
    assert str(error).startswith("cannot pull quay.io/a:1: ")
    assert keyword in str(error)
    assert f"({status} " in str(error)
    assert ", CODE: the words)" in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("code", ["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN"])
@pytest.mark.parametrize("status", [400, 404, 405, 410, 422])
def test_a_not_found_code_is_not_found_with_any_status(status: int, code: str) -> None:
    error = _raised(_response(status, _error(code)))
    assert type(error) is NotFoundError
    assert error.status == status
    assert f"not found ({status} " in str(error)


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_a_not_found_code_with_a_denied_status_is_access_denied(status: int) -> None:
    assert not isinstance(_raised(_response(status, _error("NAME_UNKNOWN"))), NotFoundError)


@pytest.mark.parametrize(
    ("status", "side", "login_origin", "message"),
    [
        (
            403,
            Side.SOURCE,
            None,
            (
                "access denied (403 Forbidden, DENIED: no) and no credentials were given. Set "
                "source_credentials."
            ),
        ),
        (
            403,
            Side.DESTINATION,
            None,
            (
                "access denied (403 Forbidden, DENIED: no) and no credentials were given. Set "
                "destination_credentials."
            ),
        ),
        (
            403,
            Side.SOURCE,
            "the secret hub",
            (
                "access denied (403 Forbidden, DENIED: no) with the credentials in the secret hub. "
                "Allow that account to pull from the repository."
            ),
        ),
        (
            401,
            Side.SOURCE,
            "the secret hub",
            (
                "authentication failed (401 Unauthorized, DENIED: no) with the credentials in the "
                "secret hub. Check the user name and the password there."
            ),
        ),
    ],
)
def test_the_message_for_access_denied_names_the_credentials_or_their_setting(
    status: int, side: Side, login_origin: str | None, message: str
) -> None:
    error = _raised(_response(status, _error()), side, login_origin)
    assert str(error) == f"cannot pull quay.io/a:1: {message}"


@pytest.mark.parametrize(
    ("code", "login_origin", "message"),
    [
        (
            "NAME_UNKNOWN",
            "SrcCreds",
            (
                "repository not found (404 Not Found, NAME_UNKNOWN: no). Check the repository "
                "name in source."
            ),
        ),
        (
            "MANIFEST_UNKNOWN",
            "SrcCreds",
            (
                "image not found (404 Not Found, MANIFEST_UNKNOWN: no). Check the repository "
                "name and the tag in source."
            ),
        ),
        (
            "MANIFEST_UNKNOWN",
            None,
            (
                "image not found (404 Not Found, MANIFEST_UNKNOWN: no). Check the repository "
                "name and the tag in source; if the repository is private, set source_credentials."
            ),
        ),
    ],
)
def test_the_message_for_a_404_names_the_missing_object(
    code: str, login_origin: str | None, message: str
) -> None:
    error = _raised(_response(404, _error(code)), login_origin=login_origin)
    assert str(error) == f"cannot pull quay.io/a:1: {message}"


def test_the_message_for_a_413_names_the_body_size_limit_of_a_proxy() -> None:
    page = b"<html><head><title>413 Request Entity Too Large</title></head></html>"
    error = str(_raised(_response(413, page, HTML), Side.DESTINATION))
    assert "client_max_body_size in nginx" in error


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "404 Not Found"),
        (b"<html>", "404 Not Found"),
        (b"[" * 100_000, "404 Not Found"),
        (b"\xff", "404 Not Found"),
        (encoded([]), "404 Not Found"),
        (encoded({"errors": []}), "404 Not Found"),
        (encoded({"errors": "x"}), "404 Not Found"),
        (encoded({"errors": ["x"]}), "404 Not Found, x"),
        (encoded({"errors": {"code": "DENIED", "message": "x"}}), "404 Not Found, DENIED: x"),
        (encoded([{"code": "DENIED", "message": "x"}]), "404 Not Found, DENIED: x"),
        (
            encoded({"error": {"code": 403, "message": "x", "status": "PERMISSION_DENIED"}}),
            "404 Not Found, PERMISSION_DENIED: x",
        ),
        (encoded({"type": "about:blank", "title": "Quota"}), "404 Not Found, Quota"),
        (encoded({"title": "Quota", "detail": "0 left"}), "404 Not Found, 0 left"),
        (b"no such host\r\nsee below", "404 Not Found, no such host"),
        (b"\x00\x01", "404 Not Found"),
        (b"\xff\xfe\xfd", "404 Not Found"),
        (encoded({"message": "no Route"}), "404 Not Found, no Route"),
        (encoded({"error": "invalid_scope"}), "404 Not Found, invalid_scope"),
        (_error(7, ["x"]), "404 Not Found"),
        (_error("", "only words"), "404 Not Found, only words"),
        (_error("CODE", None), "404 Not Found, CODE"),
        (_error("CODE", "two\nlines\x1b[31m\u202e"), "404 Not Found, CODE: two lines [31m"),
        (
            _error("CODE", f"see {URL} for more"),
            "404 Not Found, CODE: see https://quay.io/v2/a/manifests/1 for more",
        ),
        (
            b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>Gone.</Message></Error>",
            "404 Not Found, NoSuchKey: Gone.",
        ),
        (
            b"<html><head><title>Page &lt;missing&gt;</title></head></html>",
            "404 Not Found, Page <missing>",
        ),
    ],
)
def test_a_response_is_described_on_one_line(content: bytes, words: str) -> None:
    assert describe_response(_response(404, content)) == words


def test_the_first_line_of_a_plain_text_response_is_quoted() -> None:
    response = _response(400, b"\nbad host\nmore", {"content-type": "text/plain"})
    assert describe_response(response) == "400 Bad Request, bad host"


@pytest.mark.parametrize(
    ("errors", "words", "code"),
    [
        (
            # distribution's response to a foreign layer whose URL is not allowed
            [
                {"code": "UNKNOWN", "message": "unknown error"},
                {"code": "UNKNOWN", "message": "unknown error", "detail": "invalid URL on layer"},
                {"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry"},
            ],
            "invalid URL on layer",
            "MANIFEST_BLOB_UNKNOWN",
        ),
        (
            # zot's response to an unknown media type
            [{"code": "MANIFEST_INVALID", "message": "", "detail": {"mediaType": "a/b"}}],
            "MANIFEST_INVALID: {mediaType: a/b}",
            "MANIFEST_INVALID",
        ),
        (
            [{"code": "DENIED", "message": "access denied", "detail": "access denied"}],
            "DENIED: access denied",
            "DENIED",
        ),
        (
            [{"code": "UNKNOWN", "message": "unknown error", "detail": 7}],
            "unknown error",
            "UNKNOWN",
        ),
        ([{"code": "UNKNOWN", "detail": {}}], "UNKNOWN", "UNKNOWN"),
    ],
)
def test_the_first_specific_error_is_described_with_its_detail(
    errors: list[dict[str, Any]], words: str, code: str
) -> None:
    response = _response(500, _errors(*errors))
    assert words in describe_response(response)
    assert error_code(response) == code


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["UNKNOWN"], False),
        (["UNKNOWN", "MANIFEST_BLOB_UNKNOWN"], True),
        (["UNSUPPORTED"], True),
        (["TOOMANYREQUESTS"], False),
        ([], False),
    ],
)
def test_specified_error_codes_are_permanent(codes: list[str], expected: bool) -> None:
    errors = [{"code": code} for code in codes]
    assert is_permanent(_response(500, _errors(*errors))) is expected


def test_a_web_page_is_not_a_container_registry() -> None:
    response = _response(200, b"<html><title>Welcome</title></html>", HTML)
    error = str(not_a_registry(response, "pull quay.io/a:1", "quay.io", Side.SOURCE))
    assert error == (
        "cannot pull quay.io/a:1: invalid response, quay.io is not a container registry (200 OK, "
        "text/html). Check the host name in source."
    )


@pytest.mark.parametrize("status", [400, 401, 403])
def test_ecrs_expired_token_is_recognized_by_its_message(status: int) -> None:
    text = "Your Authorization Token has expired. Reauthenticate and try again."
    assert is_expired_token(_response(status, _error("DENIED", text)))
    assert not is_expired_token(_response(status, _error("DENIED", "not authorized")))
    assert not is_expired_token(_response(404, _error("DENIED", text)))


def test_the_description_of_a_response_is_bounded() -> None:
    detail = {"k" * 999: "d" * 99_999}
    response = _response(404, _error("C" * 999, "m" * 99_999, detail=detail))
    assert len(describe_response(response)) < 500


@given(
    st.binary()
    | st.builds(_error, st.text(), st.text(), detail=st.text() | st.lists(st.text()))
    | st.builds(lambda title: b"<title>" + title.encode(errors="replace"), st.text())
)
def test_arbitrary_bodies_can_be_described(content: bytes) -> None:
    response = _response(500, content)
    assert describe_response(response).startswith("500")
    assert describe_response(response).isprintable()
    assert len(error_code(response)) <= 64


@pytest.mark.parametrize(
    ("error", "kind", "status", "keyword"),
    [
        (TransientError("it broke"), UnavailableError, 0, "it broke"),
        (
            overloaded_error(_response(429, _error()), "pull X", retry_after_seconds=2),
            ThrottledError,
            429,
            "rate limit",
        ),
        (
            overloaded_error(_response(503), "pull X", retry_after_seconds=None),
            UnavailableError,
            503,
            "unavailable (503 Service Unavailable)",
        ),
    ],
)
def test_the_message_for_exhausted_retries_has_the_number_of_attempts(
    error: TransientError, kind: type[RegistryError], status: int, keyword: str
) -> None:
    assert " after 1 attempt. " in str(retries_exhausted(error, Side.SOURCE, 1))
    raised = retries_exhausted(error, Side.SOURCE, 5)
    assert type(raised) is kind
    assert raised.status == status
    assert keyword in str(raised)
    assert str(raised) == f"{error} after 5 attempts. Try again later, or raise retries."


def test_the_repr_of_requests_and_responses_has_no_secrets() -> None:
    headers = {"Authorization": "Basic hunter2"}
    messages = [
        HttpRequest("GET", parse_url(URL), headers, b"hunter2"),
        _response(307, b"hunter2", {"location": URL}),
        TokenRequest(parse_url("https://auth.example/"), headers, b"hunter2"),
        TokenResponse(200, b"hunter2"),
    ]
    assert "hunter2" not in f"{messages!r} {[str(each) for each in messages]}"
