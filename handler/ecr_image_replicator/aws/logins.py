"""Logins that were fetched once, kept for the process, and fetched again when they are refused."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ecr_image_replicator.request.logins import Login

#: A login that was fetched so short a time ago and is refused is not refused for its age.
_MIN_RENEWAL_AGE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Kept:
    login: Login
    fetched_at: float


class LoginStore:
    """Keeps logins by whatever names them; each is fetched by one thread at a time.

    Parameters
    ----------
    clock
        Monotonic seconds, the clock of `Login.expires_at`.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._kept: dict[Hashable, _Kept] = {}

    def find(self, key: Hashable, fetch: Callable[[], Login]) -> Login:
        """Give the login, fetching it when it is not there or has expired."""
        with self._lock_of(key):
            kept = self._kept.get(key)
            if kept is not None and self._clock() < kept.login.expires_at:
                return kept.login
            return self._fetch(key, fetch)

    def renew(self, key: Hashable, rejected: Login, fetch: Callable[[], Login]) -> Login | None:
        """Give another login than the rejected one, None when there is none.

        One that was fetched only just now is not fetched again: what refuses it has another
        reason, and asking on each refusal would be a request for every request.
        """
        with self._lock_of(key):
            kept = self._kept.get(key)
            if kept is not None and _differs(kept.login, rejected):
                return kept.login
            if kept is not None and self._clock() - kept.fetched_at < _MIN_RENEWAL_AGE_SECONDS:
                return None
            login = self._fetch(key, fetch)
            return login if _differs(login, rejected) else None

    def _fetch(self, key: Hashable, fetch: Callable[[], Login]) -> Login:
        login = fetch()
        self._kept[key] = _Kept(login, self._clock())
        return login

    def _lock_of(self, key: Hashable) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(key, threading.Lock())


def _differs(login: Login, other: Login) -> bool:
    return (login.username, login.password) != (other.username, other.password)
