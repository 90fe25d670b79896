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
    zeros_bytes
        Blobs of the memory section.
    """

    rows: tuple[Row, ...]
    repeats: int
    zeros_bytes: tuple[int, ...]


def full() -> Extent:
    """Take every image in every state over every network; `big` is moved near only."""
    rows = tuple(
        Row(shape, state, network)
        for network in NETWORKS
        for shape in (SMALL, MANY, BIG, MULTI)
        for state in STATES
        if not (network.far and shape is BIG)
    )
    return Extent(rows, 5, tuple(n * MEBIBYTE for n in (1, 64, 1024, 10240)))


def quick() -> Extent:
    """Take the rows that goals are set for, with a smaller `big`."""
    near, far = Network(tls=True, far=False), Network(tls=True, far=True)
    rows = (
        Row(SMALL, "missing", near),
        Row(MANY, "missing", far),
        Row(MANY, "there", far),
        Row(MULTI, "missing", far),
        Row(BIG_QUICK, "missing", near),
    )
    return Extent(rows, 2, tuple(n * MEBIBYTE for n in (1, 64, 1024)))
