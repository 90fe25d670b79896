"""Resource usage of a process as counted by the kernel (proc(5), clock_getcpuclockid(3))."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
#: Writing this to clear_refs resets the peak to the currently resident memory.
_RESET_PEAK: Final = "5"
_SCHEDULER_CLOCK: Final = 2


@dataclass(frozen=True, slots=True)
class Usage:
    """The resource usage of one copy.

    Attributes
    ----------
    wall_seconds
        Time from the event to the response.
    cpu_seconds
        User and system time of the process and its children.
    peak_bytes
        Peak resident memory.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a running process, with its ended threads and children."""
    # the kernel's ID of another process's CPU clock: see clock_getcpuclockid(3)
    own = time.clock_gettime((~pid << 3) | _SCHEDULER_CLOCK)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    of_children = int(fields[13]) + int(fields[14])
    return own + of_children / os.sysconf("SC_CLK_TCK")


def reset_peak(pid: int) -> None:
    """Reset `peak_bytes`."""
    Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)


def peak_bytes(pid: int) -> int:
    """Return the peak resident memory since the start or `reset_peak`."""
    found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    if found is None:
        message = f"process {pid} has no memory any more"
        raise ProcessLookupError(message)
    return int(found[1]) * 1024
