"""What is measured: an image, what of it is at the destination, and the way there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.images import MEBIBYTE, Shape
from benchmarks.registries import NETWORKS, Network

STATES: Final = ("missing", "partly", "there")
SMALL: Final = Shape("small", 1, 3, MEBIBYTE)
MANY: Final = Shape("many", 1, 40, 2 * MEBIBYTE)
BIG: Final = Shape("big", 1, 6, 200 * MEBIBYTE)
#: Of a quick run; its ratios say less, as what a copy costs beside its bytes weighs more.
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
        """As it stands in the tables."""
        return f"{self.shape.name}, {self.state}, {self.network.name}"


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured.

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
        """Say how many copies each program makes of a row, when so many are asked for."""
        return (repeats or self.repeats) * (_OFTEN if row in self.often else 1)


def full() -> Extent:
    """Take every image in every state over every network; `big` is moved near only."""
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
    """Take the rows that goals are set for, with a smaller `big`."""
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
