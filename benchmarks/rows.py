"""The measured rows: an image, its state at the destination, and the network path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.images import MEBIBYTE, Shape
from benchmarks.registries import NETWORKS, Network

STATES: Final = ("missing", "partly", "there")
SMALL: Final = Shape("small", 1, 3, MEBIBYTE)
MANY: Final = Shape("many", 1, 40, 2 * MEBIBYTE)
BIG: Final = Shape("big", 1, 6, 200 * MEBIBYTE)
#: For a quick run; fixed costs weigh more there, so ratios mean less.
BIG_QUICK: Final = Shape("big", 1, 6, 50 * MEBIBYTE)
MULTI: Final = Shape("multi", 4, 3, MEBIBYTE)
_NEAR: Final = Network(tls=True, far=False)
_FAR: Final = Network(tls=True, far=True)
_OFTEN: Final = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table for each program."""

    shape: Shape
    state: str
    network: Network

    @property
    def name(self) -> str:
        """The name in the tables."""
        return f"{self.shape.name}, {self.state}, {self.network.name}"


@dataclass(frozen=True, slots=True)
class Extent:
    """The amount of measurement.

    Attributes
    ----------
    repeats
        Copies a program and row.
    often
        Rows that are copied three times as often: a goal's ratio is to be told from noise.
    zeros_bytes
        Blobs of the memory section.
    """

    rows: tuple[Row, ...]
    repeats: int
    often: tuple[Row, ...]
    zeros_bytes: tuple[int, ...]

    def repeats_of(self, row: Row, repeats: int | None) -> int:
        """Return how many copies of a row each program makes."""
        return (repeats or self.repeats) * (_OFTEN if row in self.often else 1)


def full() -> Extent:
    """Return every image in every state over every network; `big` only near."""
    rows = tuple(
        Row(shape, state, network)
        for network in NETWORKS
        for shape in (SMALL, MANY, BIG, MULTI)
        for state in STATES
        if not (network.far and shape is BIG)
    )
    zeros_bytes = tuple(n * MEBIBYTE for n in (1, 64, 1024, 10240))
    return Extent(rows, 5, _goal_rows(BIG), zeros_bytes)


def quick() -> Extent:
    """Return the rows with goals, with a smaller `big`."""
    zeros_bytes = tuple(n * MEBIBYTE for n in (1, 64, 1024))
    rows = (Row(SMALL, "missing", _NEAR), *_goal_rows(BIG_QUICK))
    return Extent(rows, 2, (), zeros_bytes)


def _goal_rows(big: Shape) -> tuple[Row, ...]:
    return (
        Row(MANY, "missing", _FAR),
        Row(MANY, "there", _FAR),
        Row(MULTI, "missing", _FAR),
        Row(big, "missing", _NEAR),
    )
