"""The measurement of a row: all programs alternately, several times, with each copy checked."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from benchmarks.floor import Floor
from benchmarks.functions import cdk_ecr_deployment, our_function, write_insecure_registries
from benchmarks.images import ImageSeries
from benchmarks.programs import Job, Skopeo
from benchmarks.registries import NETWORKS, Registry
from benchmarks.samples import Sample, Summary
from benchmarks.shared_environment import TMPFS, new_shared_environment
from benchmarks.tables import FLOOR, goal_lines, row_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.images import Shape
    from benchmarks.programs import Program
    from benchmarks.report import Report
    from benchmarks.rows import Row


def run(report: Report, repeats: Sequence[tuple[Row, int]]) -> None:
    """Measure each row `repeats` times and report it."""
    with prepared([row.shape for row, _ in repeats]) as bench:
        for row, copies in repeats:
            with report.attempt(row.name, bench.directory):
                summaries = bench.measure(row, copies)
                report.write(row_table(row, summaries))
                report.add_goals(*goal_lines(row, summaries))


@contextlib.contextmanager
def prepared(shapes: Sequence[Shape]) -> Iterator[Bench]:
    """Start registries and programs, and push the layers to the registries."""
    with contextlib.ExitStack() as opened:
        shared = opened.enter_context(new_shared_environment(TMPFS))
        directory, ca_file, endpoint = shared.directory, shared.ca_file, shared.endpoint
        source, destination = (
            opened.enter_context(Registry(directory / name, shared.authority))
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
            cdk_ecr_deployment(endpoint, ca_file, directory, warm=True),
            cdk_ecr_deployment(endpoint, ca_file, directory, warm=False),
        ]
        for program in programs:
            opened.callback(program.close)
        series = {shape: ImageSeries(shape, source, destination) for shape in set(shapes)}
        yield Bench(source, destination, series, programs, directory)


class Bench:
    """Two registries and the programs that copy between them.

    Parameters
    ----------
    source, destination
        Registries with the layers of every series.
    series
        The images, by shape.
    programs
        In the order of the tables.
    directory
        The directory of the programs' logs.
    """

    def __init__(
        self,
        source: Registry,
        destination: Registry,
        series: dict[Shape, ImageSeries],
        programs: Sequence[Program],
        directory: Path,
    ) -> None:
        self.directory = directory
        self._source = source
        self._destination = destination
        self._series = series
        self._programs = programs

    def measure(self, row: Row, repeats: int) -> list[Summary]:
        """Copy the row's image with each program in turn, as often as configured."""
        # over a slow network, one sequential connection is not a lower bound
        has_floor = row.state == "missing" and not row.network.far
        programs = [each for each in self._programs if has_floor or each.name != FLOOR]
        samples: dict[str, list[Sample]] = {program.name: [] for program in programs}
        for program in programs:
            program.warm_up(self._job(row))
        for turn in range(repeats):
            start = turn % len(programs)
            for program in (*programs[start:], *programs[:start]):
                samples[program.name].append(self._sample(program, row))
        return [Summary.of(name, found) for name, found in samples.items()]

    def _sample(self, program: Program, row: Row) -> Sample:
        job = self._job(row)
        self._source.take_log(row.network)
        self._destination.take_log(row.network)
        usage = program.copy(job)
        at_source = self._source.take_log(row.network)
        at_destination = self._destination.take_log(row.network)
        if program.name != FLOOR:
            self._series[row.shape].check(job.image)
        return Sample(
            usage,
            len(at_source),
            len(at_destination),
            sum(access.sent_bytes for access in at_source if access.method == "GET"),
        )

    def _job(self, row: Row) -> Job:
        return Job(
            self._series[row.shape].publish(row.state),
            self._source.host(row.network),
            self._destination.host(row.network),
            row.network.tls,
        )
