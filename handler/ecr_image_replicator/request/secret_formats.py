"""Names of secrets, and the forms in which a secret keeps a registry's login.

No error quotes any content.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from typing import Any, Final, NamedTuple

from ecr_image_replicator.errors import Part, RequestError, SecretError
from ecr_image_replicator.request.docker_config import (
    DockerConfig,
    DockerLogin,
    MalformedEntryError,
    decode_pair,
    parse_entry,
)
from ecr_image_replicator.request.logins import Login

_ARN: Final = r"arn:[a-z-]+:secretsmanager:(?P<region>[a-z0-9-]+):[0-9]{12}:secret:.+"
#: AWS Secrets Manager, CreateSecret: the characters of a name.
_NAME: Final = r"[A-Za-z0-9/_+=.@-]{1,512}"
#: Compared in lowercase without ``_`` and ``-``, as people type these keys into the console.
_USERNAME_KEYS: Final = ("username", "user", "login", "appid", "clientid", "name")
_PASSWORD_KEYS: Final = (
    *("password", "accesstoken", "token", "pass"),
    *("secret", "clientsecret", "apikey", "pat"),
)
#: Prefix of CI variables: ``DOCKER_USERNAME``, ``DOCKERHUB_TOKEN``, ``CI_REGISTRY_USER``.
_KEY_PREFIX: Final = "^(?:ci)?(?:dockerhub|docker|registry)(?=.)"
#: Keys of a Kubernetes Secret of type dockerconfigjson or dockercfg, and of kaniko's.
_KUBERNETES_KEYS: Final = (".dockerconfigjson", ".dockercfg", "dockerconfigjson", "config.json")
#: Google Artifact Registry, "Set up authentication for Docker": the user name for a key file.
_GOOGLE_KEY_USER: Final = "_json_key"
_MAX_NESTING: Final = 3


class SecretReference(NamedTuple):
    """A secret in AWS Secrets Manager.

    Attributes
    ----------
    identifier
        Its ARN or name.
    region
        The ARN's; "" for a name, which is looked up in the function's own region.
    """

    identifier: str
    region: str = ""

    def __str__(self) -> str:
        return f"the secret {self.identifier}"


def parse_secret_reference(text: str, setting: Part) -> SecretReference:
    """Read a secret's ARN or name.

    Raises
    ------
    RequestError
        The message names the setting and does not quote the text, which may be a password.
    """
    if text.startswith("arn:"):
        found = re.fullmatch(_ARN, text)
        if found is None:
            raise RequestError(
                "invalid ", setting, ": the ARN is not that of a secret in AWS Secrets Manager"
            )
        return SecretReference(text, found["region"])
    if not re.fullmatch(_NAME, text):
        raise RequestError(
            "invalid ",
            setting,
            ": the value is neither user:password nor the ARN or name of a secret",
        )
    return SecretReference(text)


def parse_secret_login(
    content: str | bytes, secret: SecretReference, registry: str, repository: str = ""
) -> Login:
    """Read a secret's content as the login for one repository.

    Parameters
    ----------
    content
        SecretString, or the bytes of SecretBinary.
    secret
        For the login's origin and for messages.
    registry, repository
        As references name them, to choose from several logins.

    Raises
    ------
    SecretError
        The content is empty, has no known form, or has no login for the repository.
    """
    found = _Reader(secret, registry, repository).read(_decode(content, secret))
    return Login(found.username, found.password, str(secret))


def _decode(content: str | bytes, secret: SecretReference) -> str:
    if isinstance(content, str):
        return content
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _invalid(secret, "its content is not UTF-8 text") from error


class _Reader(NamedTuple):
    """The secret that is read, and the repository that a login is needed for."""

    secret: SecretReference
    registry: str
    repository: str

    def read(self, content: str, depth: int = 0) -> DockerLogin:
        text = content.strip("\ufeff\r\n\t ")
        if not text:
            raise _invalid(self.secret, "it is empty")
        if text.startswith("{"):
            return self._read_document(self._parse(text), text, depth)
        if text[0] in '"[' and depth < _MAX_NESTING and (value := _parse_any(text)) is not None:
            if not isinstance(value, str):
                raise _unknown_form(self.secret)
            return self.read(value, depth + 1)  # JSON that was encoded twice
        if (pair := _split(text)) is not None:
            return pair
        decoded = _decode_base64(text) if depth < _MAX_NESTING else None
        if decoded is None:
            raise _unknown_form(self.secret)
        return self.read(decoded, depth + 1)

    def _parse(self, text: str) -> dict[str, Any]:
        try:
            document: Any = json.loads(text)
        except (ValueError, RecursionError):
            # the parser's error quotes the text
            document = None
        if not isinstance(document, dict):
            raise _invalid(self.secret, "it begins with { and is not valid JSON")
        return document

    def _read_document(self, document: dict[str, Any], text: str, depth: int) -> DockerLogin:
        if document.get("type") == "service_account" and document.get("private_key"):
            return DockerLogin(_GOOGLE_KEY_USER, text)
        if (nested := _nested_config(document)) is not None and depth < _MAX_NESTING:
            return self.read(nested, depth + 1)
        if isinstance(document.get("auths"), str):  # the console's key/value form of a whole file
            document = {**document, "auths": self._parse(document["auths"])}
        config = DockerConfig.parse(document)
        if config is not None:
            return self._read_config(config)
        found = _read_pair(document) or _read_single_entry(document)
        if found is None:
            raise _unknown_form(self.secret)
        return found

    def _read_config(self, config: DockerConfig) -> DockerLogin:
        try:
            found = config.find(self.registry, self.repository)
        except MalformedEntryError:
            raise _invalid(
                self.secret,
                f"its entry for {self.registry} has no user name and password",
                hint='Give the entry "username" and "password", or "auth" with the base64 of '
                "user:password.",
            ) from None
        if found is not None:
            return found
        if config.uses_helper(self.registry):
            raise SecretError(
                f"{self._failed}: not found, the Docker configuration names a credential helper "
                "and holds no password",
                hint='Store {"username": "…", "password": "…"} in the secret.',
            )
        raise SecretError(
            f"{self._failed}: not found, the Docker configuration has no entry for {self.registry}",
            hint=f"Add an entry for {self.registry} under auths.",
        )

    @property
    def _failed(self) -> str:
        return f"cannot read the login for {self.registry} in {self.secret}"


def _parse_any(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _nested_config(document: dict[str, Any]) -> str | None:
    """Return the Docker configuration or the login inside a Kubernetes Secret or its `data`."""
    is_secret = document.get("kind") == "Secret"
    data = _kubernetes_data(document) if is_secret else document
    nested = next((data[key] for key in _KUBERNETES_KEYS if key in data), None)
    if isinstance(nested, dict) or (is_secret and nested is None):
        return json.dumps(nested or data)
    return nested if isinstance(nested, str) else None


def _kubernetes_data(document: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a Kubernetes Secret: `data` is base64, `stringData` is not."""
    data, plain = document.get("data"), document.get("stringData")
    values: dict[str, Any] = {}
    for key, value in data.items() if isinstance(data, dict) else ():
        with contextlib.suppress(TypeError, ValueError):
            values[key] = base64.b64decode(value).decode()
    return values | (plain if isinstance(plain, dict) else {})


def _read_pair(document: dict[str, Any]) -> DockerLogin | None:
    """Read a user name and password under whatever names people give them."""
    plain = {re.sub("[_-]", "", key).lower(): value for key, value in document.items()}
    short = {re.sub(_KEY_PREFIX, "", key): value for key, value in plain.items()}
    username = _first_text(short | plain, _USERNAME_KEYS)
    password = _first_text(short | plain, _PASSWORD_KEYS)
    if username and password:
        return DockerLogin(username, password)
    if not username and not password and len(document) == 1:
        # the console's key/value form with the user as key and the password as value
        ((key, value),) = document.items()
        if key and key != "auth" and isinstance(value, str) and value:
            return DockerLogin(key, value)
    return None


def _first_text(values: dict[str, Any], keys: tuple[str, ...]) -> str:
    """Return the first value that is not empty; a number is what a password of digits became."""
    value = next((values[key] for key in keys if values.get(key)), "")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""


def _read_single_entry(document: dict[str, Any]) -> DockerLogin | None:
    """Read one entry of a Docker configuration, without its registry."""
    try:
        return parse_entry(document)
    except MalformedEntryError:
        return None


def _split(text: str) -> DockerLogin | None:
    username, _, password = text.partition(":")
    # only a Google key file, which is JSON, has several lines
    is_one_line = "\n" not in text or username == _GOOGLE_KEY_USER
    is_url = password.startswith("//")
    if not username or not password or not is_one_line or is_url:
        return None
    return DockerLogin(username, password)


def _decode_base64(text: str) -> str | None:
    """Return what base64 stands for if that is a JSON object or ``user:password``."""
    try:
        decoded = base64.b64decode("".join(text.split()), validate=True).decode()
    except (ValueError, binascii.Error):
        return None
    if decoded.lstrip().startswith("{"):
        return decoded
    try:
        decode_pair(text)
    except MalformedEntryError:
        return None
    return decoded if decoded.isprintable() else None


def _unknown_form(secret: SecretReference) -> SecretError:
    return _invalid(secret, "its content has no known form")


def _invalid(secret: SecretReference, reason: str, hint: str = "") -> SecretError:
    return SecretError(
        f"invalid login in {secret}: {reason}",
        hint=hint
        or 'Store {"username": "…", "password": "…"}, user:password, or a Docker configuration '
        'with "auths".',
    )
