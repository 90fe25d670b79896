from __future__ import annotations

import os
import time

import pytest
from benchmarks.usage import cpu_seconds, peak_bytes, reset_peak


def test_the_cpu_time_of_a_process_equals_its_own_measurement() -> None:
    before = time.process_time()
    found = cpu_seconds(os.getpid())
    of_children = os.times().children_user + os.times().children_system
    assert before <= found <= time.process_time() + of_children + 0.02


def test_the_peak_can_be_reset() -> None:
    content = bytearray(b"x") * (64 * 2**20)
    before = peak_bytes(os.getpid())
    assert before >= len(content)
    del content
    reset_peak(os.getpid())
    assert peak_bytes(os.getpid()) <= before - 32 * 2**20


def test_the_figures_of_an_ended_process_are_an_error() -> None:
    pid = os.posix_spawnp("true", ["true"], os.environ)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        with pytest.raises(ProcessLookupError):
            peak_bytes(pid)
    finally:
        os.waitpid(pid, 0)
