"""The start time of the command line: `copy` of a small existing image, compared with skopeo."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Final

from benchmarks.images import MEBIBYTE, ImageSeries
from benchmarks.programs import CommandLine, Job, Skopeo, launch
from benchmarks.registries import Network, Registry
from benchmarks.rows import SMALL
from benchmarks.samples import Distribution
from benchmarks.shared_environment import TMPFS, new_shared_environment
from benchmarks.tables import limit_line, markdown_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.report import Report
    from benchmarks.usage import Usage

_TITLE: Final = "Start of the command line: `copy` of a small image that is there, over TLS"
_PYTHON: Final = "python -c pass"
_NETWORK: Final = Network(tls=True, far=False)
_MOST_SECONDS: Final = 0.12

Usages = dict[str, list["Usage"]]
"""What each copy has used, by program."""


def run(report: Report, repeats: int) -> None:
    """Measure and report the table and the goal."""
    with report.attempt(_TITLE):
        usages = measure(repeats)
        report.write(table(usages))
        wall_seconds = Distribution.of(each.wall_seconds for each in usages[CommandLine.name])
        name = "start of the command line, wall"
        report.add_goals(limit_line(name, wall_seconds.median, _MOST_SECONDS, "s"))


def measure(repeats: int) -> Usages:
    """Copy with each program in turn."""
    with _prepared() as programs:
        usages: Usages = {name: [] for name in programs}
        programs[CommandLine.name]()  # compiles bytecode, as an installer does
        for _ in range(repeats):
            for name, copy in programs.items():
                usages[name].append(copy())
        return usages


def table(usages: Usages) -> str:
    """Render the results."""
    lines = [
        (
            name,
            str(Distribution.of(each.wall_seconds for each in found)),
            str(Distribution.of(each.cpu_seconds for each in found)),
            f"{max(each.peak_bytes for each in found) / MEBIBYTE:.0f}",
        )
        for name, found in usages.items()
    ]
    head = ("program", "wall s", "cpu s", "peak MiB")
    return f"### {_TITLE}\n\n{markdown_table(head, lines)}"


@contextlib.contextmanager
def _prepared() -> Iterator[dict[str, Callable[[], Usage]]]:
    with contextlib.ExitStack() as opened:
        shared = opened.enter_context(new_shared_environment(TMPFS))
        folder, ca_file = shared.directory, shared.ca_file
        source, destination = (
            opened.enter_context(Registry(folder / name, shared.authority))
            for name in ("source", "destination")
        )
        series = ImageSeries(SMALL, source, destination)
        ours = CommandLine(ca_file, folder / "command-line.log")
        skopeo = Skopeo(ca_file, folder / "skopeo.log")

        def job() -> Job:
            image = series.publish("there")
            return Job(image, source.host(_NETWORK), destination.host(_NETWORK), _NETWORK.tls)

        def start_python() -> Usage:
            path = {"PATH": os.environ["PATH"]}
            return launch([sys.executable, "-c", "pass"], path, folder / "python.log")

        yield {
            _PYTHON: start_python,
            ours.name: lambda: ours.copy(job()),
            skopeo.name: lambda: skopeo.copy(job()),
        }
