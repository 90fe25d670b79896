"""Samples of one measurement, and the comparison of two programs."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.usage import Usage


@dataclass(frozen=True, slots=True)
class Sample:
    """One copy with its resource usage and its requests to both registries.

    Attributes
    ----------
    source_bytes
        Bytes of bodies that the source sent.
    """

    usage: Usage
    source_requests: int
    destination_requests: int
    source_bytes: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """The median and the range of some numbers."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Distribution:
        """Summarize at least one number."""
        found = sorted(map(float, numbers))
        return cls(statistics.median(found), found[0], found[-1])

    def __str__(self) -> str:
        return f"{shown(self.median)} ({shown(self.least)}-{shown(self.most)})"


@dataclass(frozen=True, slots=True)
class Summary:
    """All copies of one row by one program."""

    program: str
    wall_seconds: Distribution
    cpu_seconds: Distribution
    peak_bytes: float
    source_requests: float
    destination_requests: float
    source_bytes: float

    @classmethod
    def of(cls, program: str, samples: Iterable[Sample]) -> Summary:
        """Summarize at least one sample."""
        found = list(samples)
        return cls(
            program,
            Distribution.of(each.usage.wall_seconds for each in found),
            Distribution.of(each.usage.cpu_seconds for each in found),
            max(each.usage.peak_bytes for each in found),
            statistics.median(each.source_requests for each in found),
            statistics.median(each.destination_requests for each in found),
            statistics.median(each.source_bytes for each in found),
        )


def shown(number: float) -> str:
    """Format a whole number in full, another with three significant digits and no exponent."""
    if isinstance(number, int) or number >= 1000:
        return f"{number:,.0f}"
    if number >= 100:
        return f"{number:.0f}"
    if number >= 10:
        return f"{number:.1f}"
    return f"{number:.2f}" if number >= 1 else f"{number:.3f}"
