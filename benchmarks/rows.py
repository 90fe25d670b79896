"""The measured rows: an image, its state at the destination, and the network path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.images import MEBIBYTE, Shape
from benchmarks.registries import NETWORKS, Network

STATES: Final = ("missing", "partly", "there")
SMALL: Final = Shape("small", 1, 3, MEBIBYTE)
MANY: Final = Shape("many", 1, 40, 2 * MEBIBYTE)
BIG: Final = Shape("big", 1, 6, 64 * MEBIBYTE)
#: For a quick run, where fixed costs make ratios less meaningful.
BIG_QUICK: Final = Shape("big", 1, 6, 32 * MEBIBYTE)
MULTI: Final = Shape("multi", 4, 3, MEBIBYTE)
_PLAIN: Final = Network(tls=False, far=False)
_NEAR: Final = Network(tls=True, far=False)
_FAR: Final = Network(tls=True, far=True)


@dataclass(frozen=True, slots=True)
class Row:
    """A row: one line of the table for each program."""

    shape: Shape
    state: str
    network: Network

    @property
    def name(self) -> str:
        """The name for the tables."""
        return f"{self.shape.name}, {self.state}, {self.network.name}"


@dataclass(frozen=True, slots=True)
class Extent:
    """The amount of measurement.

    Attributes
    ----------
    rows
        Copies between registries.
    repeats
        Copies by each program in each row.
    often
        Rows that are copied more than twice as often: a goal's ratio is to be told from noise.
    section_repeats
        Copies by each program in the other sections.
    zeros_bytes
        Sizes of blobs of the memory section.
    archive_layer_bytes
        Size of each layer of an archive.
    mirror_tags
        Number of tags of each mirrored repository.
    is_full
        Whether to measure everything.
    """

    rows: tuple[Row, ...]
    repeats: int
    often: tuple[Row, ...]
    section_repeats: int
    zeros_bytes: tuple[int, ...]
    archive_layer_bytes: int
    mirror_tags: int
    is_full: bool

    def repeats_of(self, row: Row) -> int:
        """Return the number of copies of a row by each program."""
        return 2 * self.repeats + 1 if row in self.often else self.repeats


def full(repeats: int | None = None) -> Extent:
    """Return all images in all states over all networks, `big` only without delay."""
    rows = tuple(
        Row(shape, state, network)
        for network in NETWORKS
        for shape in (SMALL, MANY, BIG, MULTI)
        for state in STATES
        if not (network.far and shape is BIG)
    )
    return Extent(
        rows,
        repeats or 2,
        often=_goal_rows(BIG),
        section_repeats=repeats or 3,
        zeros_bytes=tuple(n * MEBIBYTE for n in (1, 64, 1024, 10240)),
        archive_layer_bytes=24 * MEBIBYTE,
        mirror_tags=112,
        is_full=True,
    )


def quick(repeats: int | None = None) -> Extent:
    """Return the rows with goals, with smaller images and sets of images."""
    return Extent(
        _goal_rows(BIG_QUICK),
        repeats or 2,
        often=(),
        section_repeats=repeats or 2,
        zeros_bytes=tuple(n * MEBIBYTE for n in (1, 64, 1024)),
        archive_layer_bytes=16 * MEBIBYTE,
        mirror_tags=14,
        is_full=False,
    )


def _goal_rows(big: Shape) -> tuple[Row, ...]:
    return (
        Row(SMALL, "missing", _PLAIN),
        Row(SMALL, "missing", _NEAR),
        Row(big, "missing", _NEAR),
        Row(MANY, "missing", _FAR),
        Row(MANY, "there", _FAR),
        Row(MULTI, "missing", _FAR),
    )
