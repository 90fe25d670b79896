"""What a secret's content may look like, and how a secret is named; pure.

The forms are those of ECS's private registry authentication, of Docker's configuration file, of
ECR's pull-through cache, and ``user:password``. No error quotes any content.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from ecr_image_replicator.errors import RequestError, SecretError
from ecr_image_replicator.model.references import canonical_registry
from ecr_image_replicator.request.logins import Login

_ARN: Final = re.compile(r"arn:[a-z-]+:secretsmanager:(?P<region>[a-z0-9-]+):[0-9]{12}:secret:.+")
#: AWS Secrets Manager, CreateSecret: what a name may hold.
_NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
#: What Docker's configuration file puts behind a host.
_KEY_PATHS: Final = frozenset({"", "v1", "v2"})
_PASSWORD_KEYS: Final = ("password", "accessToken")


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A secret in AWS Secrets Manager.

    Attributes
    ----------
    identifier
        Its ARN or name.
    region
        Of the ARN; "" for a name, which is looked up in the function's own region.
    """

    identifier: str
    region: str = ""

    def __str__(self) -> str:
        return f"the secret {self.identifier}"


def parse_secret_reference(text: str, name: str) -> SecretReference:
    """Read a secret's ARN or name.

    Raises
    ------
    RequestError
        The sentence names the property and keeps its value, which may be a password.
    """
    if text.startswith("arn:"):
        found = _ARN.fullmatch(text)
        if found is None:
            raise RequestError(
                f"{name} begins like an ARN and is not the ARN of a secret in AWS Secrets Manager"
            )
        return SecretReference(text, found["region"])
    if not _NAME.fullmatch(text):
        raise RequestError(
            f"{name} is neither a secret's ARN, nor a secret's name, nor user:password"
        )
    return SecretReference(text)


def parse_secret_login(content: str | bytes, secret: SecretReference, registry: str) -> Login:
    """Read a secret's content as the login for one registry.

    Parameters
    ----------
    content
        SecretString, or the bytes of SecretBinary.
    secret
        For the login's origin and for sentences.
    registry
        ``host[:port]`` as references name it, to choose from several.

    Raises
    ------
    SecretError
        It is empty or of no known form, or has nothing for the registry.
    """
    text = _decode(content, secret).strip("\ufeff\r\n\t ")
    if not text:
        raise SecretError(f"{secret} is empty; put a user name and a password into it")
    username, password = (
        _read_document(text, secret, registry) if text.startswith("{") else _split(text, secret)
    )
    return Login(username, password, str(secret))


def _decode(content: str | bytes, secret: SecretReference) -> str:
    if isinstance(content, str):
        return content
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise SecretError(f"{secret} holds bytes that are not UTF-8 text") from error


def _read_document(text: str, secret: SecretReference, registry: str) -> tuple[str, str]:
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        # the parser's error quotes the text
        document = None
    if not isinstance(document, dict):
        raise SecretError(f"{secret} begins like JSON and is not valid JSON")
    if "auths" in document:
        return _read_docker_config(document["auths"], secret, registry)
    return _read_pair(document) or _no_form(secret)


def _read_docker_config(auths: Any, secret: SecretReference, registry: str) -> tuple[str, str]:
    """Find the entry of a Docker configuration file that is for the registry, by its whole host."""
    if not isinstance(auths, dict):
        raise _malformed_entry(secret, registry)
    for key, entry in auths.items():
        if _host_of(key) == registry:
            if not isinstance(entry, dict):
                raise _malformed_entry(secret, registry)
            return _read_entry(entry, secret, registry)
    raise SecretError(
        f"{secret} is a Docker configuration without an entry for {registry}; add one under auths"
    )


def _read_entry(entry: dict[str, Any], secret: SecretReference, registry: str) -> tuple[str, str]:
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return "", token
    if (pair := _read_pair(entry)) is not None:
        return pair
    try:
        decoded = base64.b64decode(entry["auth"], validate=True).decode()
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise _malformed_entry(secret, registry) from None
    username, colon, password = decoded.partition(":")
    if not colon or not username or not password:
        raise _malformed_entry(secret, registry)
    # some writers pad the decoded text with NUL
    return username, password.rstrip("\0")


def _read_pair(document: dict[str, Any]) -> tuple[str, str] | None:
    username = document.get("username")
    password = next((document[key] for key in _PASSWORD_KEYS if document.get(key)), None)
    if isinstance(username, str) and username and isinstance(password, str):
        return username, password
    return None


def _split(text: str, secret: SecretReference) -> tuple[str, str]:
    username, colon, password = text.partition(":")
    if not colon or not username or not password or "\n" in text:
        return _no_form(secret)
    return username, password


def _host_of(key: str) -> str:
    host, _, path = re.sub(r"^https?://", "", key).partition("/")
    return canonical_registry(host) if path.strip("/") in _KEY_PATHS else ""


def _no_form(secret: SecretReference) -> tuple[str, str]:
    raise SecretError(
        f'{secret} is of no known form; it takes {{"username": …, "password": …}}, user:password, '
        'a Docker configuration {"auths": …}, or {"username": …, "accessToken": …}'
    )


def _malformed_entry(secret: SecretReference, registry: str) -> SecretError:
    return SecretError(
        f"{secret} is a Docker configuration whose entry for {registry} has neither username and "
        "password, nor auth with the base64 of user:password"
    )
