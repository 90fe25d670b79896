from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecr_image_replicator.errors import RequestError, SecretError, Setting
from ecr_image_replicator.request.credentials import InlineCredentials, parse_credentials
from ecr_image_replicator.request.properties import property_name
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
        # Azure: docker login writes the token beside a user name without a password
        (_docker(**{"ghcr.io": {"auth": _auth("0000:"), "identitytoken": "s3cret"}}), "", "s3cret"),
        # .dockercfg, before Docker 1.7
        ('{"ghcr.io": {"auth": "YW5uOnMzY3JldA==", "email": "a@b.c"}}', "ann", "s3cret"),
        ('{"https://ghcr.io/v1/": {"username": "ann", "password": "s3cret"}}', "ann", "s3cret"),
        # the empty entry that a credential helper adds
        (
            _docker(**{"https://ghcr.io": {}, "ghcr.io": {"auth": _auth("ann:s3cret")}}),
            "ann",
            "s3cret",
        ),
        (
            '{"credsStore": "pass", "auths": {"ghcr.io": {"auth": "YW5uOnMzY3JldA=="}}}',
            "ann",
            "s3cret",
        ),
        # key/value pairs of the Secrets Manager console
        ('{"ann": "s3cret"}', "ann", "s3cret"),
        ('{"User": "ann", "PASSWORD": "s3cret"}', "ann", "s3cret"),
        ('{"user_name": "ann", "access-token": "s3cret"}', "ann", "s3cret"),
        (
            json.dumps({"auths": _docker(**{"ghcr.io": {"auth": _auth("ann:s3cret")}})[10:-1]}),
            "ann",
            "s3cret",
        ),
        # Kubernetes
        (
            json.dumps(
                {".dockerconfigjson": _docker(**{"ghcr.io": {"auth": _auth("ann:s3cret")}})}
            ),
            "ann",
            "s3cret",
        ),
        (
            json.dumps(
                {
                    "kind": "Secret",
                    "data": {
                        ".dockerconfigjson": _auth(
                            _docker(**{"ghcr.io": {"auth": _auth("ann:s3cret")}})
                        )
                    },
                }
            ),
            "ann",
            "s3cret",
        ),
        (
            json.dumps({"kind": "Secret", "stringData": {"username": "ann", "password": "s3cret"}}),
            "ann",
            "s3cret",
        ),
        (
            json.dumps(
                {
                    "kind": "Secret",
                    "type": "kubernetes.io/basic-auth",
                    "data": {"username": _auth("ann"), "password": _auth("s3cret")},
                }
            ),
            "ann",
            "s3cret",
        ),
        (
            json.dumps(
                {
                    "kind": "Secret",
                    "stringData": {
                        "config.json": _docker(**{"ghcr.io": {"auth": _auth("ann:s3cret")}})
                    },
                }
            ),
            "ann",
            "s3cret",
        ),
        # base64 with line breaks, without padding, and in the URL-safe alphabet
        (_docker(**{"ghcr.io": {"auth": "YW5uOn\nMzY3JldA==\n"}}), "ann", "s3cret"),
        (_docker(**{"ghcr.io": {"auth": "YW5uOnMzY3JldA"}}), "ann", "s3cret"),
        (_docker(**{"ghcr.io": {"auth": "YW5uOj8_Pz4-Pg=="}}), "ann", "???>>>"),
        # JSON that was encoded twice
        (json.dumps(json.dumps({"username": "ann", "password": "s3cret"})), "ann", "s3cret"),
        ('"ann:s3cret"', "ann", "s3cret"),
        # names used by CI systems, credential helpers, robot accounts of Harbor, and Azure
        ('{"DOCKER_USERNAME": "ann", "DOCKER_PASSWORD": "s3cret"}', "ann", "s3cret"),
        ('{"DOCKERHUB_USERNAME": "ann", "DOCKERHUB_TOKEN": "s3cret"}', "ann", "s3cret"),
        ('{"CI_REGISTRY_USER": "ann", "CI_REGISTRY_PASSWORD": "s3cret"}', "ann", "s3cret"),
        ('{"docker-username": "ann", "docker-password": "s3cret"}', "ann", "s3cret"),
        ('{"ServerURL": "ghcr.io", "Username": "ann", "Secret": "s3cret"}', "ann", "s3cret"),
        ('{"name": "robot$ann", "secret": "s3cret"}', "robot$ann", "s3cret"),
        ('{"appId": "ann", "password": "s3cret", "tenant": "x"}', "ann", "s3cret"),
        ('{"clientId": "ann", "clientSecret": "s3cret"}', "ann", "s3cret"),
        ('{"username": "ann", "password": 12345678}', "ann", "12345678"),
        # one entry, base64 of user:password, and base64 of a whole file
        (json.dumps({"auth": _auth("ann:s3cret")}), "ann", "s3cret"),
        (_auth("ann:s3cret"), "ann", "s3cret"),
        (_auth(_docker(**{"ghcr.io": {"auth": _auth("ann:s3cret")}})), "ann", "s3cret"),
        # Google's key files
        ('_json_key:{\n"private_key": "s3cret"\n}', "_json_key", '{\n"private_key": "s3cret"\n}'),
        (
            '{"type": "service_account", "private_key": "s3cret"}',
            "_json_key",
            '{"type": "service_account", "private_key": "s3cret"}',
        ),
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
def test_every_secret_format_is_parsed(content: str | bytes, username: str, password: str) -> None:
    login = parse_secret_login(content, _SECRET, "ghcr.io")

    assert (login.username, login.password) == (username, password)
    assert login.origin == "the secret hub"
    assert password not in repr(login)


@pytest.mark.parametrize(
    "key", ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"]
)
def test_every_docker_hub_key_of_a_docker_configuration_is_recognized(key: str) -> None:
    content = _docker(**{key: {"auth": _auth("ann:s3cret")}})

    assert parse_secret_login(content, _SECRET, "docker.io").username == "ann"


@pytest.mark.parametrize(
    ("repository", "username"),
    [
        ("team/app/web", "deepest"),
        ("team/app", "deepest"),
        ("team/application", "team"),
        ("team", "team"),
        ("other/app", "host"),
        ("", "host"),
    ],
)
def test_the_longest_matching_path_prefix_is_used_before_the_host(
    repository: str, username: str
) -> None:
    content = _docker(
        **{
            "quay.io": {"auth": _auth("host:s3cret")},
            "quay.io/team": {"auth": _auth("team:s3cret")},
            "https://quay.io/team/app": {"auth": _auth("deepest:s3cret")},
            "quay.io/team/app/web": {},
            "ghcr.io/team/app/web": {"auth": _auth("other:s3cret")},
        }
    )

    assert parse_secret_login(content, _SECRET, "quay.io", repository).username == username


def test_a_login_for_a_path_is_not_used_for_other_paths() -> None:
    content = _docker(**{"quay.io/team": {"auth": _auth("team:s3cret")}})

    with pytest.raises(SecretError, match=r"no entry for quay\.io"):
        parse_secret_login(content, _SECRET, "quay.io", "other/app")


_HINT = (
    'Store {"username": "…", "password": "…"}, user:password, or a Docker configuration with '
    '"auths".'
)
_EMPTY = f"invalid login in the secret hub: it is empty. {_HINT}"
_NO_FORM = f"invalid login in the secret hub: its content has no known form. {_HINT}"
_BAD_JSON = f"invalid login in the secret hub: it begins with {{ and is not valid JSON. {_HINT}"
_BAD_ENTRY = (
    "invalid login in the secret hub: its entry for ghcr.io has no user name and password. Give "
    'the entry "username" and "password", or "auth" with the base64 of user:password.'
)
_NO_ENTRY = (
    "cannot read the login for ghcr.io in the secret hub: not found, the Docker configuration has "
    "no entry for ghcr.io. Add an entry for ghcr.io under auths."
)
_HELPER = (
    "cannot read the login for ghcr.io in the secret hub: not found, the Docker configuration "
    "names a credential helper and holds no password. Store "
    '{"username": "…", "password": "…"} in the secret.'
)
_BAD_ARN = "invalid SrcCreds: the ARN is not that of a secret in AWS Secrets Manager"
_NOT_TEXT = f"invalid login in the secret hub: its content is not UTF-8 text. {_HINT}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", _EMPTY),
        (b"", _EMPTY),
        (" \n", _EMPTY),
        ("s3cret", _NO_FORM),
        (":s3cret", _NO_FORM),
        ("s3cret:", _NO_FORM),
        ("s3cret:a\nb:c", _NO_FORM),
        ("{}", _NO_FORM),
        ('["ann", "s3cret"]', _NO_FORM),
        ('[{"username": "ann", "password": "s3cret"}]', _NO_FORM),
        ("https://ann:s3cret@ghcr.io", _NO_FORM),
        ('{"kind": "Secret", "data": {"username": 7}}', _NO_FORM),
        ('{"username": "ann", "password": true}', _NO_FORM),
        ('{"password": "s3cret"}', _NO_FORM),
        ('{"username": "", "password": "s3cret"}', _NO_FORM),
        ('{"username": "ann", "password": ""}', _NO_FORM),
        ('{"username": "ann", "password": ["s3cret"]}', _NO_FORM),
        ('{"username": "s3cret', _BAD_JSON),
        ("{" * 100_000, _BAD_JSON),
        (b"\xff\xfe:s3cret", _NOT_TEXT),
        ('{"auths": []}', _NO_ENTRY),
        ('{"auths": {}}', _NO_ENTRY),
        (_docker(**{"quay.io": {"auth": _auth("ann:s3cret")}}), _NO_ENTRY),
        (_docker(**{"ghcr.io": "s3cret"}), _BAD_ENTRY),
        (_docker(**{"ghcr.io": {}}), _NO_ENTRY),
        ('{"credsStore": "desktop"}', _HELPER),
        ('{"auths": {"ghcr.io": {}}, "credsStore": "desktop"}', _HELPER),
        ('{"auths": {"https://ghcr.io": {}}, "credHelpers": {"ghcr.io": "gcloud"}}', _HELPER),
        ('{"auths": {}, "credHelpers": {"quay.io": "gcloud"}}', _NO_ENTRY),
        ('{"quay.io": {"auth": "YW5uOnMzY3JldA=="}}', _NO_ENTRY),
        (_docker(**{"ghcr.io": {"auth": "s3cret!"}}), _BAD_ENTRY),
        (_docker(**{"ghcr.io": {"auth": 7}}), _BAD_ENTRY),
        (_docker(**{"ghcr.io": {"auth": _auth("s3cret")}}), _BAD_ENTRY),
    ],
)
def test_invalid_content_is_an_error_that_does_not_quote_it(
    content: str | bytes, message: str
) -> None:
    with pytest.raises(SecretError) as raised:
        parse_secret_login(content, _SECRET, "ghcr.io")

    assert raised.value.render(property_name) == message
    assert "s3cret" not in str(raised.value)


@given(st.text() | st.binary())
def test_arbitrary_content_is_a_login_or_an_error(content: str | bytes) -> None:
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
        ("ann:s3cret", InlineCredentials("ann", "s3cret", Setting.SOURCE_CREDENTIALS)),
        ("ann:s3:cret", InlineCredentials("ann", "s3:cret", Setting.SOURCE_CREDENTIALS)),
    ],
)
def test_credentials_are_inline_or_a_secret_reference(
    text: str, expected: InlineCredentials | SecretReference
) -> None:
    assert parse_credentials(text, Setting.SOURCE_CREDENTIALS) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "arn:aws:s3:::s3cret",
            _BAD_ARN,
        ),
        (
            "arn:aws:secretsmanager:eu-west-1:123456789012:s3cret",
            _BAD_ARN,
        ),
        (
            "s3 cret",
            "invalid SrcCreds: the value is neither user:password nor the ARN or name of a secret",
        ),
        ("s3cret:", "invalid SrcCreds: the value is not user:password"),
        (":s3cret", "invalid SrcCreds: the value is not user:password"),
        (
            ' {"username": "ann", "password": "s3cret"}',
            (
                "invalid SrcCreds: the value is JSON, not user:password. "
                "If it is a secret's content, name the secret instead."
            ),
        ),
    ],
)
def test_malformed_credentials_are_rejected_and_not_quoted(text: str, message: str) -> None:
    with pytest.raises(RequestError) as raised:
        parse_credentials(text, Setting.SOURCE_CREDENTIALS)

    assert raised.value.render(property_name) == message


def test_the_region_of_a_secret_arn_is_used() -> None:
    assert parse_secret_reference(_ARN, Setting.DESTINATION_CREDENTIALS).region == "eu-west-1"
