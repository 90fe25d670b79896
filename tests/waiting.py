"""Waiting for a condition, not for a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: Much longer than any condition takes on a busy machine: only a broken program reaches it.
MAX_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.005


def wait_until(
    condition: Callable[[], object],
    describe: Callable[[], str] = lambda: "the condition was never met",
) -> None:
    """Poll until a condition holds. Use it where there is no event to wait for.

    Raises
    ------
    AssertionError
        With the description, after `MAX_WAIT_SECONDS`.
    """
    pause = threading.Event()
    end = time.monotonic() + MAX_WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, describe()
        pause.wait(_POLL_SECONDS)
