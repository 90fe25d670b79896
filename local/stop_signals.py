"""Ctrl-C and SIGTERM as an event of the main thread, without signal handlers.

A handler that sets a `threading.Event` waits forever for the event's lock if the signal arrives
while the main thread holds it, at the beginning of `Event.wait`.
"""

from __future__ import annotations

import signal
from typing import Final

_SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM})


def block() -> None:
    """Keep the signals until `wait`. Call it before threads start, as they inherit it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def wait() -> None:
    """Wait for the first signal, also for one that has arrived already."""
    signal.sigwait(_SIGNALS)
