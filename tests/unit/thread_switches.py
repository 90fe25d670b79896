"""Threads that may switch at every bytecode instruction of a function."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SWITCH_INTERVAL_SECONDS = 10e-6


@contextmanager
def switching_threads(*functions: str) -> Iterator[None]:
    """Let threads that start within this block switch at each instruction of these functions.

    The interpreter switches only at calls and jumps, depending on its version. A counter without a
    lock loses updates in this block in every run.
    """

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if frame.f_code.co_name not in functions:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            time.sleep(0)
        return trace

    interval, former = sys.getswitchinterval(), threading.gettrace()
    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
    threading.settrace(trace)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        threading.settrace(former)
