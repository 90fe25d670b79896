"""Logins for registries, and the protocol of whatever keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and password for one registry.

    Attributes
    ----------
    origin
        Where they come from, for sentences: ``SrcCreds``, ``the secret hub``, ``ECR's sign-in``.
    expires_at
        Monotonic seconds from which on they are no longer to be used.
    is_optional
        Whether a visit without them may do as well, should they be refused.
    """

    username: str
    password: str = field(repr=False)
    origin: str
    expires_at: float = float("inf")
    is_optional: bool = False


class Credentials(Protocol):
    """Logins by registry, from wherever they are kept; equal ones give the same logins."""

    def find_preemptive(self, registry: str) -> Login | None:
        """Give the login to send as Basic before the registry asks, None to wait until it does."""

    def find(self, registry: str) -> Login | None:
        """Give the login for ``host[:port]``, None for an anonymous visit."""

    def renew(self, registry: str, rejected: Login) -> Login | None:
        """Give another login than the one that the registry refused, None when there is none."""
