"""Run one command and write its resource usage as JSON to the first argument's file.

It is a separate program, started with ``-I -S``: the kernel adds the resident memory of a
process's parent to the process's peak, so the parent must be small.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> int:
    """Run the command and exit with its status."""
    report, program, *arguments = sys.argv[1:]
    began_at = time.perf_counter()
    pid = os.posix_spawnp(program, [program, *arguments], os.environ)
    _, status, used = os.wait4(pid, 0)
    wall_seconds = time.perf_counter() - began_at
    with open(report, "w") as file:  # noqa: PTH123 - pathlib would double this small process
        json.dump([wall_seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024], file)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
