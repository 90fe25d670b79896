from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from ecr_image_replicator.aws.logins import LoginStore
from ecr_image_replicator.request.logins import Login


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _logins(*passwords: str, expires_at: float = float("inf")) -> Callable[[], Login]:
    left = [Login("ann", each, "the secret hub", expires_at=expires_at) for each in passwords]
    return lambda: left.pop(0)


def test_a_login_is_fetched_once_until_it_expires() -> None:
    clock = Clock()
    store = LoginStore(clock=clock)
    fetch = _logins("one", "two", expires_at=1060.0)

    assert [store.find("key", fetch).password for _ in range(3)] == ["one"] * 3
    clock.now = 1060.0
    assert store.find("key", fetch).password == "two"


def test_each_key_has_a_separate_login() -> None:
    store = LoginStore()
    fetch = _logins("one", "two")

    assert store.find("first", fetch).password == "one"
    assert store.find("second", fetch).password == "two"
    assert store.find("first", fetch).password == "one"


def test_a_rejected_login_is_fetched_again_after_30_seconds() -> None:
    clock = Clock()
    store = LoginStore(clock=clock)
    fetch = _logins("one", "two")
    old = store.find("key", fetch)

    clock.now += 31
    renewed = store.renew("key", old, fetch)

    assert renewed is not None
    assert renewed.password == "two"
    assert store.find("key", fetch) == renewed


def test_a_rejected_login_is_not_fetched_again_within_30_seconds() -> None:
    store = LoginStore(clock=Clock())
    fetch = _logins("one")

    assert store.renew("key", store.find("key", fetch), fetch) is None


def test_a_young_login_is_renewed_if_it_has_expired() -> None:
    clock = Clock()
    store = LoginStore(clock=clock)
    fetch = _logins("one", "two")
    expired = replace(store.find("key", fetch), expires_at=clock())
    renewed = store.renew("key", expired, fetch)
    assert renewed is not None
    assert renewed.password == "two"


def test_renew_returns_none_if_the_login_is_unchanged() -> None:
    clock = Clock()
    store = LoginStore(clock=clock)
    fetch = _logins("one", "one")
    old = store.find("key", fetch)

    clock.now += 31
    assert store.renew("key", old, fetch) is None


def test_a_login_that_another_thread_renewed_is_not_fetched_again() -> None:
    clock = Clock()
    store = LoginStore(clock=clock)
    fetch = _logins("one", "two")
    old = store.find("key", fetch)
    clock.now += 31

    assert store.renew("key", old, fetch) == store.renew("key", old, fetch)


def test_concurrent_threads_fetch_a_login_once() -> None:
    store = LoginStore()
    fetched: list[str] = []
    together = threading.Barrier(4)

    def fetch() -> Login:
        fetched.append("one")
        return Login("ann", "one", "the secret hub")

    def find() -> None:
        together.wait()
        store.find("key", fetch)

    threads = [threading.Thread(target=find) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert fetched == ["one"]
