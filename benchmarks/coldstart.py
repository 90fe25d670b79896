"""Time from the start of a process to its first response, compared with importing boto3 alone.

The time begins with the event that makes the emulator start the function's process. The event is
a small image that is there already, over TLS, so that nearly all of it is the start.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from benchmarks.samples import Distribution
from benchmarks.tables import markdown_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.programs import Job, Program

NAME: Final = "first response of a new process"
_BOTO3: Final = "python -c 'import boto3'"


def measure(
    programs: Sequence[Program], job: Callable[[], Job], repeats: int
) -> dict[str, Distribution]:
    """Measure each program's new process and the import in turn, in wall seconds."""
    times: dict[str, list[float]] = {_BOTO3: [], **{each.name: [] for each in programs}}
    for _ in range(repeats):
        times[_BOTO3].append(_import_boto3())
        for program in programs:
            times[program.name].append(program.copy(job()).wall_seconds)
    return {name: Distribution.of(found) for name, found in times.items()}


def table(measured: dict[str, Distribution]) -> str:
    """Render the results."""
    base = measured[_BOTO3].median
    lines = [(name, str(found), f"{found.median / base:.2f}") for name, found in measured.items()]
    return f"### {NAME}\n\n{markdown_table(('', 'wall s', 'of the import'), lines)}"


def goal_line(measured: dict[str, Distribution], ours: str) -> tuple[str, ...]:
    """Compare the start with the goal: at most twice the import."""
    base, found = measured[_BOTO3].median, measured[ours].median
    verdict = "reached" if found <= 2 * base else "missed"
    return (
        f"{NAME}, wall s; beside importing boto3",
        f"{found:.3f}",
        f"{base:.3f}",
        f"{found / base:.2f}",
        "2",
        verdict,
    )


def _import_boto3() -> float:
    began_at = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import boto3"], check=True)
    return time.perf_counter() - began_at
