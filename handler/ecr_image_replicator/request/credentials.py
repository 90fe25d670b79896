"""The credentials of an endpoint as its property gives them: a login, or the name of a secret."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from ecr_image_replicator.errors import ReplicationError, RequestError, Setting, Side
from ecr_image_replicator.request.logins import Login

if TYPE_CHECKING:
    from ecr_image_replicator.errors import Part
    from ecr_image_replicator.request.logins import Credentials
    from ecr_image_replicator.request.secret_formats import SecretReference

#: The setting that has the credentials of an endpoint.
CREDENTIALS_SETTINGS: Final = {
    Side.SOURCE: Setting.SOURCE_CREDENTIALS,
    Side.DESTINATION: Setting.DESTINATION_CREDENTIALS,
}


@dataclass(frozen=True, slots=True)
class NoCredentials:
    """Anonymous access."""

    def find_preemptive(self, registry: str) -> Login | None:  # noqa: ARG002 - the port's
        """Return None."""
        return None

    def find(self, registry: str) -> Login | None:  # noqa: ARG002 - the port's
        """Return None."""
        return None

    def renew(self, registry: str, rejected: Login) -> Login | None:  # noqa: ARG002 - the port's
        """Return None."""
        return None


@dataclass(frozen=True, slots=True)
class InlineCredentials:
    """One login, for any registry.

    Attributes
    ----------
    username, password
        The login.
    origin
        Where it comes from, for messages: a setting, or a text.
    """

    username: str
    password: str = field(repr=False)
    origin: Part

    def find_preemptive(self, registry: str) -> Login | None:  # noqa: ARG002 - the port's
        """Return None: the registry's challenge says how to authenticate."""
        return None

    def find(self, registry: str) -> Login | None:  # noqa: ARG002 - the port's
        """Return the login."""
        return Login(self.username, self.password, self.origin)

    def renew(self, registry: str, rejected: Login) -> Login | None:  # noqa: ARG002 - the port's
        """Return None: a property does not change while it is used."""
        return None


class StoredCredentials(NamedTuple):
    """A login that a user stored for a registry, such as `docker login` does."""

    login: Login

    def find_preemptive(self, registry: str) -> Login | None:  # noqa: ARG002 - the port's
        """Return None: the registry's challenge says how to authenticate."""
        return None

    def find(self, registry: str) -> Login | None:  # noqa: ARG002 - the port's
        """Return the login."""
        return self.login

    def renew(self, registry: str, rejected: Login) -> Login | None:  # noqa: ARG002 - the port's
        """Return None: it does not change while it is used."""
        return None


class FirstCredentials(NamedTuple):
    """AWS credentials, or a stored login if there are none."""

    preferred: Credentials
    stored: StoredCredentials

    def find_preemptive(self, registry: str) -> Login | None:
        """Return the preferred login, or None to wait for the challenge."""
        with contextlib.suppress(ReplicationError):
            return self.preferred.find_preemptive(registry)
        return None

    def find(self, registry: str) -> Login | None:
        """Return the preferred login, else the stored one."""
        with contextlib.suppress(ReplicationError):
            return self.preferred.find(registry)
        return self.stored.find(registry)

    def renew(self, registry: str, rejected: Login) -> Login | None:
        """Return another login than the rejected one, None if there is none."""
        if rejected == self.stored.login:
            return None
        return self.preferred.renew(registry, rejected)


def parse_credentials(text: str, setting: Part) -> InlineCredentials | SecretReference:
    """Parse credentials: ``user:password``, or the ARN or name of a secret.

    An ARN starts with ``arn:``. Any other text with a colon is a user name and a password, because
    the name of a secret cannot contain one.

    Raises
    ------
    RequestError
        The message names the setting and does not quote the text.
    """
    if ":" in text and not text.startswith("arn:"):
        return parse_inline_credentials(text, setting)
    from ecr_image_replicator.request.secret_formats import (  # noqa: PLC0415 - few need it
        parse_secret_reference,
    )

    return parse_secret_reference(text, setting)


def parse_inline_credentials(text: str, setting: Part) -> InlineCredentials:
    """Parse ``user:password``; the password may contain colons.

    Raises
    ------
    RequestError
        The message names the setting and does not quote the text.
    """
    if text.lstrip().startswith("{"):  # what {{resolve:secretsmanager:NAME}} becomes
        raise RequestError(
            "invalid ",
            setting,
            ": the value is JSON, not user:password",
            hint="If it is a secret's content, name the secret instead.",
        )
    username, colon, password = text.partition(":")
    if not colon or not username or not password:
        raise RequestError("invalid ", setting, ": the value is not user:password")
    return InlineCredentials(username, password, setting)
