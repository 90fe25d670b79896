"""A cache of logins for the life of the process."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ecr_image_replicator.request.logins import Login

#: A login that is younger is not fetched again when a registry rejects it.
_MIN_RENEWAL_AGE_SECONDS: Final = 30.0


class _CachedLogin(NamedTuple):
    login: Login
    fetched_at: float


class LoginStore:
    """Logins by key; one thread at a time fetches the login of a key.

    Parameters
    ----------
    clock
        Monotonic seconds, the clock of `Login.expires_at`.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._cached: dict[Hashable, _CachedLogin] = {}

    def find(self, key: Hashable, fetch: Callable[[], Login]) -> Login:
        """Return the login of a key; fetch it if it is not cached or has expired."""
        with self._lock_of(key):
            cached = self._cached.get(key)
            if cached is not None and self._clock() < cached.login.expires_at:
                return cached.login
            return self._fetch(key, fetch)

    def renew(self, key: Hashable, rejected: Login, fetch: Callable[[], Login]) -> Login | None:
        """Return another login than the rejected one, None if there is none.

        A login that was fetched seconds ago was not rejected because of its age, unless
        `expires_at` says so, and fetching it after every rejection would double the number of
        requests.
        """
        with self._lock_of(key):
            cached = self._cached.get(key)
            if cached is not None and _differs(cached.login, rejected):
                return cached.login
            now = self._clock()
            is_young = cached is not None and now - cached.fetched_at < _MIN_RENEWAL_AGE_SECONDS
            if is_young and now < rejected.expires_at:
                return None
            login = self._fetch(key, fetch)
            return login if _differs(login, rejected) else None

    def _fetch(self, key: Hashable, fetch: Callable[[], Login]) -> Login:
        login = fetch()
        self._cached[key] = _CachedLogin(login, self._clock())
        return login

    def _lock_of(self, key: Hashable) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(key, threading.Lock())


def _differs(login: Login, other: Login) -> bool:
    return (login.username, login.password) != (other.username, other.password)
