"""``python -m benchmarks``: measure, and print Markdown or write it with ``--output``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import (
    archive,
    artifact,
    coldstart,
    command_start,
    instructions,
    longlayer,
    measuring,
    memory,
    mirror,
    rows,
    size,
    versions,
)
from benchmarks.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen measurements; return 1 if one of them failed."""
    options = _parser().parse_args(arguments)
    extent = (rows.quick if options.quick else rows.full)(options.repeats)
    chosen = [each for each in options.only.split(",") if each] or list(sections(extent))
    artifact.check()
    report = Report(f"Measured on {versions.machine()}", options.output)
    report.write(f"{', '.join(versions.programs())}\n")
    for name in chosen:
        with report.attempt(name):
            sections(extent, options.rows)[name](report)
    return report.finish()


def sections(extent: rows.Extent, text: str = "") -> dict[str, Callable[[Report], None]]:
    """Return the measuring functions of the sections, in the order of the results.

    Parameters
    ----------
    text
        Measure only rows whose name contains this.
    """
    repeats = extent.section_repeats
    copied = [(row, extent.repeats_of(row)) for row in extent.rows if text in row.name]
    found: dict[str, Callable[[Report], None]] = {
        "starts": lambda report: coldstart.run(report, repeats),
        "size": size.run,
        "command": lambda report: command_start.run(report, repeats),
        "rows": lambda report: measuring.run(report, copied),
        "mirror": lambda report: mirror.run(report, extent.repeats, extent.mirror_tags),
        "archive": lambda report: archive.run(report, repeats, extent.archive_layer_bytes),
        "memory": lambda report: memory.run(report, extent.zeros_bytes),
    }
    if extent.is_full:
        found["longlayer"] = lambda report: longlayer.run(report, extent.repeats)
        found["instructions"] = instructions.run
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less, and smaller images")
    parser.add_argument("--only", default="", help="sections, separated by commas")
    parser.add_argument("--rows", default="", help="only rows whose name has this in it")
    parser.add_argument("--repeats", type=int, help="copies by each program in each row")
    parser.add_argument("--output", type=Path, help="a file for the tables")
    return parser


if __name__ == "__main__":
    sys.exit(main())
