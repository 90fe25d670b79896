"""``python -m benchmarks``: measure, print Markdown, and with ``--output`` write it to a file."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import platform
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import archive, coldstart, instructions, longlayer, memory, rows, size
from benchmarks.floor import Floor
from benchmarks.images import ImageSeries
from benchmarks.measuring import Bench
from benchmarks.programs import (
    OURS_NEW,
    PEER,
    Skopeo,
    cdk_ecr_deployment,
    our_function,
    write_insecure_registries,
)
from benchmarks.registries import NETWORKS, Registry
from benchmarks.scenery import TMPFS, new_scenery
from benchmarks.tables import goal_table, row_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.programs import Program
    from benchmarks.rows import Row

_LOG_TAIL_BYTES: Final = 2000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the requested measurements."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the rows that goals are set for")
    parser.add_argument("--rows", default="", help="only rows whose name has this in it")
    parser.add_argument("--repeats", type=int, help="copies a program and row")
    parser.add_argument("--output", type=Path, help="a file for the tables")
    options = parser.parse_args(arguments)
    extent = rows.quick() if options.quick else rows.full()
    chosen = [row for row in extent.rows if options.rows in row.name]
    report = Report(options.output)
    report.write(f"# Measured on {describe_machine()}\n")
    repeats = options.repeats or extent.repeats
    measured, others = [], []
    with prepared(chosen) as bench:
        for row in chosen:
            copies = extent.repeats_of(row, options.repeats)
            measured.append((row, bench.measure(row, copies)))
            report.write(row_table(*measured[-1]))
        if not options.rows:
            started = bench.measure_starts(repeats)
            report.write(coldstart.table(started))
            others.append(coldstart.goal_line(started, OURS_NEW))
    if not options.rows:
        peaks = measure_memory(extent.zeros_bytes)
        report.write(memory.table(peaks))
        others.append(memory.goal_line(peaks))
    if not (options.rows or options.quick):
        report.write(longlayer.table(longlayer.measure(repeats)))
        archived = archive.measure(repeats)
        report.write(archive.table(archived))
        others += archive.goal_lines(archived)
        report.write(size.table())
        report.write(instructions.table(instructions.measure(), instructions.recorded()))
    report.write(f"### Goals\n\n{goal_table(measured, others)}")
    return 0


def measure_memory(sizes_bytes: Sequence[int]) -> dict[int, int]:
    """Copy zeros with a function in a process of its own."""
    with new_scenery() as scenery:
        handler = "benchmarks.with_boto3.lambda_handler"
        function = our_function(scenery.endpoint, scenery.ca_file, warm=True, handler=handler)
        try:
            return memory.measure(function, sizes_bytes)
        finally:
            function.close()


class Report:
    """Text that is printed part by part, and collected."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._parts: list[str] = []

    def write(self, text: str) -> None:
        """Add a part."""
        self._parts.append(text)
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        if self._path is not None:
            self._path.write_text("\n".join(self._parts))


@contextlib.contextmanager
def prepared(chosen: Sequence[Row]) -> Iterator[Bench]:
    """Start registries and programs, and push the layers to the registries."""
    with contextlib.ExitStack() as opened:
        scenery = opened.enter_context(new_scenery(TMPFS))
        directory, ca_file, endpoint = scenery.directory, scenery.ca_file, scenery.endpoint
        source, destination = (
            opened.enter_context(Registry(directory / name, scenery.authority))
            for name in ("source", "destination")
        )
        plain = [network for network in NETWORKS if not network.tls]
        hosts = [each.host(network) for each in (source, destination) for network in plain]
        write_insecure_registries(directory, hosts)
        programs: list[Program] = [
            Floor(ca_file, directory),
            our_function(endpoint, ca_file, warm=True),
            our_function(endpoint, ca_file, warm=False),
            Skopeo(ca_file, directory / "skopeo.log"),
        ]
        if PEER.exists():
            programs += [
                cdk_ecr_deployment(PEER, endpoint, ca_file, directory, warm=True),
                cdk_ecr_deployment(PEER, endpoint, ca_file, directory, warm=False),
            ]
        for program in programs:
            opened.callback(program.close)
        shapes = {row.shape for row in chosen} | {rows.SMALL}
        series = {shape: ImageSeries(shape, source, destination) for shape in shapes}
        try:
            yield Bench(source, destination, series, programs)
        except Exception:
            for log in sorted(directory.glob("*.log")):
                sys.stderr.write(f"{log.name}: {log.read_text()[-_LOG_TAIL_BYTES:]}\n")
            raise


def describe_machine() -> str:
    """Describe the day, the machine and the programs."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    model = found[1] if found else platform.machine()
    today = dt.datetime.now(dt.UTC).date()
    return ", ".join(
        [
            str(today),
            f"{os.cpu_count()} cores of {model}",
            f"Linux {platform.release()}",
            f"Python {platform.python_version()}",
            ssl.OPENSSL_VERSION.rpartition(" ")[0].partition("  ")[0],
            version_of("skopeo", "--version"),
            version_of("docker-registry", "--version"),
        ]
    )


def version_of(*command: str) -> str:
    """Return a program's version, as it prints it."""
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return f"{command[0]} {finished.stdout.split()[-1]}"


if __name__ == "__main__":
    sys.exit(main())
