"""Ctrl-C and SIGTERM: stop the engine, which cancels its uploads, and say how the run ended."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final, TypeVar

from ecr_image_replicator.cli.exit_codes import Exit
from ecr_image_replicator.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_Result = TypeVar("_Result")
#: An upper bound, because waiting for a lock needs a number.
_LONGEST_SECONDS: Final = 7 * 24 * 3600.0
_POLL_SECONDS: Final = 0.2
_STATUSES: Final = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}


class Interruption:
    """The first signal stops the deadline; the second ends the process.

    Attributes
    ----------
    status
        The exit status of the received signal, None before a signal.
    deadline
        The engine's deadline.
    """

    def __init__(self) -> None:
        self.status: Exit | None = None
        self.deadline: Final = Deadline(_LONGEST_SECONDS)
        self._previous: dict[signal.Signals, Callable[..., object] | int | None] = {}

    def __enter__(self) -> None:
        # a script's background job ignores SIGINT and keeps ignoring it
        handled = [each for each in _STATUSES if signal.getsignal(each) is not signal.SIG_IGN]
        self._previous = {each: signal.signal(each, self._stop) for each in handled}

    def __exit__(self, *_: object) -> None:
        for each, handler in self._previous.items():
            signal.signal(each, handler)

    def run(self, work: Callable[[], _Result]) -> _Result:
        """Run work in a thread, so that a signal handler never holds a lock of the engine."""
        with ThreadPoolExecutor(1, thread_name_prefix="engine") as pool:
            working = pool.submit(work)
            # a signal just before a wait does not end the wait
            while not wait([working], _POLL_SECONDS).done:
                pass
            return working.result()

    def _stop(self, number: int, _: FrameType | None) -> None:
        self.status = _STATUSES[signal.Signals(number)]
        for each in self._previous:
            signal.signal(each, signal.SIG_DFL)
        self.deadline.stop()
