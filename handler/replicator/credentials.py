"""Credentials that stand in the resource's properties themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

from replicator.errors import RequestError
from replicator.ports import Login


@dataclass(frozen=True, slots=True)
class NoCredentials:
    """Anonymous visits."""

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

    def find(self, registry: str) -> Login | None:  # noqa: ARG002 - the port asks for it
        """Give the login."""
        return Login(self.username, self.password, self.origin)

    def renew(self, registry: str, rejected: Login) -> Login | None:  # noqa: ARG002 - as above
        """Give none: a property does not change while it is used."""
        return None


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
