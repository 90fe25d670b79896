"""A CPU limit like Lambda's, set with a control group (versions 1 and 2).

Lambda assigns CPU in proportion to memory: 1,769 MB have one core, 512 MB have 0.29.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

MEMORY_MEGABYTES: Final = 512
#: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
_MEGABYTES_OF_A_CORE: Final = 1769
SHARE: Final = round(MEMORY_MEGABYTES / _MEGABYTES_OF_A_CORE, 2)
_PERIOD_MICROSECONDS: Final = 20_000
_MOUNTS: Final = Path("/proc/self/mounts")
_THROTTLED: Final = re.compile(r"^nr_throttled (\d+)$", re.MULTILINE)
_EMPTY_SECONDS: Final = 10.0


class QuotaUnavailableError(RuntimeError):
    """No control group is available for a limit."""


class QuotaError(RuntimeError):
    """A limit had no effect."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted hierarchy of control groups that can limit CPU time."""

    version: int
    path: Path

    def settings(self, share: float) -> dict[str, str]:
        """Return the files of a group and their content for a share of one core."""
        quota = round(share * _PERIOD_MICROSECONDS)
        if self.version == 2:
            return {"cpu.max": f"{quota} {_PERIOD_MICROSECONDS}"}
        return {
            "cpu.cfs_period_us": str(_PERIOD_MICROSECONDS),
            "cpu.cfs_quota_us": str(quota),
        }


def find_hierarchy(mounts: str) -> Hierarchy:
    """Find the hierarchy with the CPU controller in the content of /proc/self/mounts.

    Raises
    ------
    QuotaUnavailableError
        No hierarchy with the CPU controller is mounted.
    """
    unified = None
    for line in mounts.splitlines():
        _, path, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            return Hierarchy(1, Path(path))
        if kind == "cgroup2":
            unified = Hierarchy(2, Path(path))
    if unified is None:
        raise QuotaUnavailableError("no control groups are mounted")
    return unified


class CpuQuota:
    """A control group with a limit that exists inside `with`.

    Parameters
    ----------
    share
        The share of one core.
    hierarchy
        The hierarchy of the group, looked up by default.

    Raises
    ------
    QuotaUnavailableError
        On entering the context, if this process cannot create the group.
    """

    def __init__(self, share: float = SHARE, hierarchy: Hierarchy | None = None) -> None:
        self._share = share
        self._hierarchy = hierarchy
        self._group = Path()

    def __enter__(self) -> Self:
        hierarchy = self._hierarchy or find_hierarchy(_MOUNTS.read_text())
        self._group = hierarchy.path / f"benchmark-{os.getpid()}"
        try:
            if hierarchy.version == 2:
                (hierarchy.path / "cgroup.subtree_control").write_text("+cpu")
            self._group.mkdir()
            for name, content in hierarchy.settings(self._share).items():
                (self._group / name).write_text(content)
        except OSError as error:
            self.__exit__()
            message = f"no CPU limit can be set in {hierarchy.path}: {error.strerror}"
            raise QuotaUnavailableError(message) from error
        return self

    def __exit__(self, *_: object) -> None:
        until = time.monotonic() + _EMPTY_SECONDS
        while time.monotonic() < until:
            # the kernel keeps the group until its last process ends
            with contextlib.suppress(OSError):
                self._group.rmdir()
            if not self._group.exists():
                return
            time.sleep(0.05)

    @property
    def command(self) -> tuple[str, ...]:
        """The prefix of a command that runs the rest of the command in the group."""
        joins = f"echo $$ > '{self._group}/cgroup.procs' && exec \"$@\""
        return "/bin/sh", "-c", joins, "limited"

    def check(self) -> None:
        """Check that the limit has throttled a process at least once.

        Raises
        ------
        QuotaError
            The limit has throttled no process.
        """
        found = _THROTTLED.search((self._group / "cpu.stat").read_text())
        if found is None or not int(found[1]):
            raise QuotaError(f"the limit of {self._share} cores has stopped no process")
