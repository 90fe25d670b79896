"""The function under the emulator, with a deadline that passes when a file appears.

A real timeout would have to be so short that a slow machine has no time to continue.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import custom_resource.invocation
from app import lambda_handler
from ecr_image_replicator.deadline import Deadline

__all__ = ["lambda_handler"]
_FILE = Path(os.environ["DEADLINE_FILE"])
_POLL_SECONDS = 0.02


class _ExpiringDeadline(Deadline):
    def __init__(self, seconds: float) -> None:
        self._has_passed = threading.Event()
        super().__init__(seconds, clock=self._now)
        threading.Thread(target=self._watch, name="deadline-file", daemon=True).start()

    def _now(self) -> float:
        return float("inf") if self._has_passed.is_set() else time.monotonic()

    def _watch(self) -> None:
        while not _FILE.exists():
            time.sleep(_POLL_SECONDS)
        self._has_passed.set()
        self._expire()


setattr(custom_resource.invocation, "Deadline", _ExpiringDeadline)  # noqa: B010 - for mypy
