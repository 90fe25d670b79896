"""Measures a row: every program alternately, several times, each copy checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import coldstart
from benchmarks.programs import Job
from benchmarks.registries import Network
from benchmarks.rows import SMALL, Row
from benchmarks.samples import Sample, Summary
from benchmarks.tables import FLOOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.images import ImageSeries, Shape
    from benchmarks.programs import Program
    from benchmarks.registries import Registry
    from benchmarks.samples import Distribution


class Bench:
    """Two registries and the programs that copy between them.

    Parameters
    ----------
    source, destination
        Both hold the layers of every series.
    series
        The images, by shape.
    programs
        In the order of the tables.
    """

    def __init__(
        self,
        source: Registry,
        destination: Registry,
        series: dict[Shape, ImageSeries],
        programs: Sequence[Program],
    ) -> None:
        self._source = source
        self._destination = destination
        self._series = series
        self._programs = programs

    def measure(self, row: Row, repeats: int) -> list[Summary]:
        """Let every program copy the row's image in turn, as often as configured."""
        # over a slow network one connection that waits for each response is no lower bound
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

    def measure_starts(self, repeats: int) -> dict[str, Distribution]:
        """Measure the new processes."""
        row = Row(SMALL, "there", Network(tls=True, far=False))
        starting = [each for each in self._programs if each.name.endswith("new process")]
        return coldstart.measure(starting, lambda: self._job(row), repeats)

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
