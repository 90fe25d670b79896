"""Credentials as a resource's properties give them: in themselves, or by naming a secret."""

from __future__ import annotations

from dataclasses import dataclass, field

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.request.logins import Login
from ecr_image_replicator.request.secret_formats import SecretReference, parse_secret_reference


@dataclass(frozen=True, slots=True)
class NoCredentials:
    """Anonymous visits."""

    def find_preemptive(self, registry: str) -> Login | None:  # noqa: ARG002 - the port asks for it
        """Give none."""
        return None

    def find(self, registry: str) -> Login | None:  # noqa: ARG002 - the port asks for it
        """Give none."""
        return None

    def renew(self, registry: str, rejected: Login) -> Login | None:  # noqa: ARG002 - as above
        """Give none."""
        return None


@dataclass(frozen=True, slots=True)
class InlineCredentials:
    """One login, for whichever registry the side has.

    Attributes
    ----------
    username, password
        As given.
    origin
        The property's name.
    """

    username: str
    password: str = field(repr=False)
    origin: str

    def find_preemptive(self, registry: str) -> Login | None:  # noqa: ARG002 - as above
        """Give none: how to sign in is the registry's to say."""
        return None

    def find(self, registry: str) -> Login | None:  # noqa: ARG002 - the port asks for it
        """Give the login."""
        return Login(self.username, self.password, self.origin)

    def renew(self, registry: str, rejected: Login) -> Login | None:  # noqa: ARG002 - as above
        """Give none: a property does not change while it is used."""
        return None


def parse_credentials(text: str, name: str) -> InlineCredentials | SecretReference:
    """Read what a property says of credentials: ``user:password``, a secret's ARN or its name.

    An ARN begins with ``arn:``; of the rest, what holds a colon is a user and a password, as a
    secret's name cannot.

    Raises
    ------
    RequestError
        The sentence names the property and keeps its value.
    """
    if ":" in text and not text.startswith("arn:"):
        return parse_inline_credentials(text, name)
    return parse_secret_reference(text, name)


def parse_inline_credentials(text: str, name: str) -> InlineCredentials:
    """Read ``user:password``; the password may hold colons.

    Raises
    ------
    RequestError
        The sentence names the property and keeps its value.
    """
    username, colon, password = text.partition(":")
    if not colon or not username or not password:
        raise RequestError(f"{name} is not of the form user:password")
    return InlineCredentials(username, password, name)
