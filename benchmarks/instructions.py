"""``python -m benchmarks.instructions``: count and record the instructions of the hot path.

Valgrind's callgrind counts the instructions in user space, except those of libcrypto, which
depend on the processor. The instructions of the start are subtracted, so that the result
is the cost of an image and of a mebibyte. That of an image hardly differs between runs and
machines; a mebibyte arrives in more or fewer reads. Both differ between versions of Python.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.images import MEBIBYTE
from benchmarks.memory import zeros
from benchmarks.tables import markdown_table

if TYPE_CHECKING:
    from benchmarks.report import Report

_RECORD: Final = Path(__file__).parent / "record.json"
_IMAGES: Final = 8
_MEBIBYTES: Final = 64
_TINY: Final = [1024 + number for number in range(_IMAGES + 1)]
_LARGE: Final = 1024 + _MEBIBYTES * MEBIBYTE
_AN_IMAGE: Final = "an image of one layer"
_A_MEBIBYTE: Final = "a mebibyte"
#: The minimum change that the table marks: above that between six runs, 1 % and 50 %.
_NOTABLE: Final = {_AN_IMAGE: 0.1, _A_MEBIBYTE: 0.5}
_OBJECT: Final = re.compile(r"ob=\((\d+)\)(?: (.*))?")
_CALLED: Final = re.compile(r"cob=\((\d+)\)(?: (.*))?")
_COST: Final = re.compile(r"[+*\-]?\d*\s(\d+)")
_MOST_SECONDS: Final = 600
_TITLE: Final = "Hot path, without libcrypto"


def run(report: Report) -> None:
    """Count and report the table."""
    with report.attempt(_TITLE):
        report.write(table(measure(), recorded()))


def measure() -> dict[str, int]:
    """Count."""
    with zeros([*_TINY, _LARGE]) as source, zeros(()) as destination, ThreadPoolExecutor(2) as pool:
        first, images, large = pool.map(
            lambda sizes: _count(source, destination, sizes),
            ([_TINY[0]], _TINY, [_TINY[0], _LARGE]),
        )
    an_image = (images - first) / _IMAGES
    a_mebibyte = (large - first - an_image) / _MEBIBYTES
    return {_AN_IMAGE: round(an_image), _A_MEBIBYTE: round(a_mebibyte)}


def recorded() -> dict[str, int]:
    """Return the recorded counts of this Python version, empty if there are none."""
    record = json.loads(_RECORD.read_text()) if _RECORD.exists() else {}
    found: dict[str, int] = record.get(_version(), {})
    return found


def table(counted: dict[str, int], record: dict[str, int]) -> str:
    """Render the counts with the recorded ones and mark notable changes."""
    lines = []
    for name, count in counted.items():
        before = record.get(name)
        change = count / before - 1 if before else 0.0
        notable = before is not None and abs(count - before) >= _NOTABLE[name] * before
        mark = "**changed**" if notable else ""
        lines.append((name, f"{count:,}", f"{before:,}" if before else "", f"{change:+.1%}", mark))
    head = ("", "instructions", "recorded", "change", "")
    return f"### {_TITLE}\n\n{markdown_table(head, lines)}"


def parse_instructions(callgrind: str) -> dict[str, int]:
    """Sum callgrind's instruction counts for each object (a program or library)."""
    names: dict[str, str] = {}
    sums: dict[str, int] = {}
    current = ""
    is_callee = False
    for line in callgrind.splitlines():
        if found := _OBJECT.fullmatch(line) or _CALLED.fullmatch(line):
            if found[2]:
                names[found[1]] = found[2]
            if line.startswith("ob="):
                current = found[1]
        elif line.startswith("calls="):
            is_callee = True
        elif cost := _COST.fullmatch(line):
            if not is_callee:
                sums[current] = sums.get(current, 0) + int(cost[1])
            is_callee = False
    return {names[number]: count for number, count in sums.items()}


def _count(source: str, destination: str, sizes: list[int]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "callgrind.out"
        command = [
            *("valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={output}"),
            *(sys.executable, "-m", "benchmarks.hotpath", source, destination, *map(str, sizes)),
        ]
        subprocess.run(command, check=True, timeout=_MOST_SECONDS)
        executed = parse_instructions(output.read_text())
    return sum(count for name, count in executed.items() if "libcrypto" not in name)


def _version() -> str:
    return f"Python {'.'.join(platform.python_version_tuple()[:2])}, {platform.machine()}"


def main() -> None:
    """Compare with the recorded counts and replace them."""
    counted = measure()
    sys.stdout.write(table(counted, recorded()))
    record = json.loads(_RECORD.read_text()) if _RECORD.exists() else {}
    record[_version()] = counted
    _RECORD.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
