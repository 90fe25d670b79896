from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecr_image_replicator.errors import RequestError, SecretError
from ecr_image_replicator.request.credentials import InlineCredentials, parse_credentials
from ecr_image_replicator.request.secret_formats import (
    SecretReference,
    parse_secret_login,
    parse_secret_reference,
)

_ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:hub/pull-a1B2c3"
_SECRET = SecretReference("hub")


def _auth(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _docker(**auths: Any) -> str:
    return json.dumps({"auths": auths})


@pytest.mark.parametrize(
    ("content", "username", "password"),
    [
        ('{"username": "ann", "password": "s3cret"}', "ann", "s3cret"),
        ('{"username": "ann", "password": "s3cret", "host": "x"}', "ann", "s3cret"),
        ('{"username": "ann", "accessToken": "s3cret"}', "ann", "s3cret"),
        ("ann:s3cret", "ann", "s3cret"),
        ("ann:s3:cr:et", "ann", "s3:cr:et"),
        ("ann:s3cret\n", "ann", "s3cret"),
        ("\ufeffann:s3cret", "ann", "s3cret"),
        (b"ann:s3cret", "ann", "s3cret"),
        (b'{"username": "ann", "password": "s\xc3\xa9cret"}', "ann", "sécret"),
        (_docker(**{"ghcr.io": {"auth": _auth("ann:s3cret")}}), "ann", "s3cret"),
        (_docker(**{"ghcr.io": {"auth": _auth("ann:s3:cret")}}), "ann", "s3:cret"),
        (_docker(**{"https://ghcr.io": {"auth": _auth("ann:s3cret")}}), "ann", "s3cret"),
        (_docker(**{"https://ghcr.io/v2/": {"auth": _auth("ann:s3cret")}}), "ann", "s3cret"),
        (_docker(**{"GHCR.io": {"username": "ann", "password": "s3cret"}}), "ann", "s3cret"),
        (_docker(**{"ghcr.io": {"identitytoken": "s3cret"}}), "", "s3cret"),
        (
            _docker(
                **{
                    "evil-ghcr.io": {"auth": _auth("eve:x")},
                    "ghcr.io.example": {"auth": _auth("eve:x")},
                    "ghcr.io/team": {"auth": _auth("eve:x")},
                    "ghcr.io": {"auth": _auth("ann:s3cret")},
                }
            ),
            "ann",
            "s3cret",
        ),
    ],
)
def test_every_form_of_a_secret_is_read(content: str | bytes, username: str, password: str) -> None:
    login = parse_secret_login(content, _SECRET, "ghcr.io")

    assert (login.username, login.password) == (username, password)
    assert login.origin == "the secret hub"
    assert password not in repr(login)


@pytest.mark.parametrize(
    "key", ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"]
)
def test_every_name_of_docker_hub_stands_for_it_in_a_docker_configuration(key: str) -> None:
    content = _docker(**{key: {"auth": _auth("ann:s3cret")}})

    assert parse_secret_login(content, _SECRET, "docker.io").username == "ann"


_EMPTY = "the secret hub is empty; put a user name and a password into it"
_NO_FORM = (
    'the secret hub is of no known form; it takes {"username": …, "password": …}, user:password, '
    'a Docker configuration {"auths": …}, or {"username": …, "accessToken": …}'
)
_BAD_JSON = "the secret hub begins like JSON and is not valid JSON"
_BAD_ENTRY = (
    "the secret hub is a Docker configuration whose entry for ghcr.io has neither username and "
    "password, nor auth with the base64 of user:password"
)
_NO_ENTRY = (
    "the secret hub is a Docker configuration without an entry for ghcr.io; add one under auths"
)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", _EMPTY),
        (b"", _EMPTY),
        (" \n", _EMPTY),
        ("s3cret", _NO_FORM),
        (":s3cret", _NO_FORM),
        ("s3cret:", _NO_FORM),
        ("s3cret:a\nb:c", _NO_FORM),
        ("{}", _NO_FORM),
        ('{"password": "s3cret"}', _NO_FORM),
        ('{"username": "", "password": "s3cret"}', _NO_FORM),
        ('{"username": "ann", "password": ""}', _NO_FORM),
        ('{"username": "ann", "password": ["s3cret"]}', _NO_FORM),
        ('{"username": "s3cret', _BAD_JSON),
        ("{" * 100_000, _BAD_JSON),
        (b"\xff\xfe:s3cret", "the secret hub holds bytes that are not UTF-8 text"),
        ('{"auths": []}', _BAD_ENTRY),
        ('{"auths": {}}', _NO_ENTRY),
        (_docker(**{"quay.io": {"auth": _auth("ann:s3cret")}}), _NO_ENTRY),
        (_docker(**{"ghcr.io": "s3cret"}), _BAD_ENTRY),
        (_docker(**{"ghcr.io": {}}), _BAD_ENTRY),
        (_docker(**{"ghcr.io": {"auth": "s3cret!"}}), _BAD_ENTRY),
        (_docker(**{"ghcr.io": {"auth": 7}}), _BAD_ENTRY),
        (_docker(**{"ghcr.io": {"auth": _auth("s3cret")}}), _BAD_ENTRY),
    ],
)
def test_what_is_no_login_is_refused_without_a_word_of_it(
    content: str | bytes, sentence: str
) -> None:
    with pytest.raises(SecretError) as raised:
        parse_secret_login(content, _SECRET, "ghcr.io")

    assert str(raised.value) == sentence
    assert "s3cret" not in str(raised.value)


@given(st.text() | st.binary())
def test_any_content_is_a_login_or_a_sentence(content: str | bytes) -> None:
    try:
        login = parse_secret_login(content, _SECRET, "ghcr.io")
    except SecretError:
        return
    assert login.password


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (_ARN, SecretReference(_ARN, "eu-west-1")),
        (
            "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:x",
            SecretReference(
                "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:x",
                "us-gov-west-1",
            ),
        ),
        ("hub/pull", SecretReference("hub/pull")),
        ("ecr-pullthroughcache/docker-hub", SecretReference("ecr-pullthroughcache/docker-hub")),
        ("ann:s3cret", InlineCredentials("ann", "s3cret", "SrcCreds")),
        ("ann:s3:cret", InlineCredentials("ann", "s3:cret", "SrcCreds")),
    ],
)
def test_a_property_says_which_kind_of_credentials_it_gives(
    text: str, expected: InlineCredentials | SecretReference
) -> None:
    assert parse_credentials(text, "SrcCreds") == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "arn:aws:s3:::s3cret",
            "SrcCreds begins like an ARN and is not the ARN of a secret in AWS Secrets Manager",
        ),
        (
            "arn:aws:secretsmanager:eu-west-1:123456789012:s3cret",
            "SrcCreds begins like an ARN and is not the ARN of a secret in AWS Secrets Manager",
        ),
        ("s3 cret", "SrcCreds is neither a secret's ARN, nor a secret's name, nor user:password"),
        ("s3cret:", "SrcCreds is not of the form user:password"),
        (":s3cret", "SrcCreds is not of the form user:password"),
    ],
)
def test_malformed_credentials_are_refused_and_not_quoted(text: str, sentence: str) -> None:
    with pytest.raises(RequestError) as raised:
        parse_credentials(text, "SrcCreds")

    assert str(raised.value) == sentence


def test_an_arn_is_asked_for_in_its_own_region() -> None:
    assert parse_secret_reference(_ARN, "DestCreds").region == "eu-west-1"
