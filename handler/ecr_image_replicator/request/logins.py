"""Logins for registries, and the protocol of everything that stores them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ecr_image_replicator.errors import Part


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and password for one registry.

    Attributes
    ----------
    username, password
        The login.
    origin
        Where it comes from, for messages: a setting, or a text such as ``the secret hub``.
    expires_at
        Monotonic seconds after which it is no longer used.
    is_optional
        Whether anonymous access is tried when the login is rejected.
    """

    username: str
    password: str = field(repr=False)
    origin: Part
    expires_at: float = float("inf")
    is_optional: bool = False


class Credentials(Protocol):
    """Logins by registry. Equal credentials return the same logins."""

    def find_preemptive(self, registry: str) -> Login | None:
        """Return the login for preemptive Basic authentication, None to wait for a challenge."""

    def find(self, registry: str) -> Login | None:
        """Return the login for ``host[:port]``, None for anonymous access."""

    def renew(self, registry: str, rejected: Login) -> Login | None:
        """Return another login than the one that the registry rejected, None without another."""
