"""Tables of rows in Markdown, and the goals of some rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.images import MEBIBYTE
from benchmarks.samples import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from benchmarks.rows import Row
    from benchmarks.samples import Summary

_GIBIBYTE: Final = 1024 * MEBIBYTE
_OURS: Final = "ours"
#: Programs that are not peers: the floor only copies bytes.
FLOOR: Final = "floor"
_HEAD: Final = (
    "program",
    "wall s",
    "cpu s",
    "cpu s/GiB",
    "peak MiB",
    "requests, source + destination",
    "MiB read",
    "wall, of best peer",
    "cpu, of best peer",
)
GOAL_HEAD: Final = ("goal", "ours", "beside", "ratio", "at most", "")


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal for a figure.

    Attributes
    ----------
    row
        The row's name.
    figure
        The compared figure.
    most
        The maximum ratio to the best peer's figure.
    most_seconds
        A fixed limit instead of a ratio.
    """

    name: str
    row: str
    figure: Callable[[Summary], float]
    most: float = 0.0
    most_seconds: float = 0.0


def _wall(summary: Summary) -> float:
    return summary.wall_seconds.median


def _cpu(summary: Summary) -> float:
    return summary.cpu_seconds.median


GOALS: Final = (
    Goal("`small`, cpu", "small, missing, plain", _cpu, 1.0),
    Goal("`small` over TLS, cpu", "small, missing, TLS", _cpu, 1.0),
    Goal("`big` over TLS, cpu", "big, missing, TLS", _cpu, 0.9),
    Goal("`big` over TLS, wall", "big, missing, TLS", _wall, 0.85),
    Goal("`many` at 20 ms, wall", "many, missing, TLS, 20 ms", _wall, 0.5),
    Goal("there already, at 20 ms, wall", "many, there, TLS, 20 ms", _wall, 0.3),
    Goal("there already, at 20 ms, wall", "many, there, TLS, 20 ms", _wall, most_seconds=0.066),
    Goal("`multi` at 20 ms, wall", "multi, missing, TLS, 20 ms", _wall, 0.5),
)


def row_table(row: Row, summaries: Sequence[Summary]) -> str:
    """Render the figures of every program for one row."""
    wall = best_peer(summaries, lambda s: s.wall_seconds.median)
    cpu = best_peer(summaries, lambda s: s.cpu_seconds.median)
    gibibytes = row.shape.total_bytes / _GIBIBYTE
    lines = [
        (
            summary.program,
            str(summary.wall_seconds),
            str(summary.cpu_seconds),
            f"{summary.cpu_seconds.median / gibibytes:.2f}" if row.state == "missing" else "",
            f"{summary.peak_bytes / MEBIBYTE:.0f}",
            f"{summary.source_requests:g} + {summary.destination_requests:g}",
            f"{summary.source_bytes / MEBIBYTE:.1f}",
            f"{summary.wall_seconds.median / wall:.2f}",
            f"{summary.cpu_seconds.median / cpu:.2f}",
        )
        for summary in summaries
    ]
    return f"### {row.name}\n\n{markdown_table(_HEAD, lines)}"


def goal_lines(row: Row, summaries: Sequence[Summary]) -> Iterator[tuple[str, ...]]:
    """Compare a row with its goals."""
    for goal in GOALS:
        if goal.row != row.name:
            continue
        ours = min(goal.figure(each) for each in summaries if each.program.startswith(_OURS))
        if goal.most_seconds:
            yield limit_line(goal.name, ours, goal.most_seconds, "s")
        else:
            yield goal_line(goal.name, ours, best_peer(summaries, goal.figure), goal.most)
    yield from _counts(row, summaries)


def goal_line(name: str, ours: float, peer: float, most: float) -> tuple[str, ...]:
    """Compare a figure with a peer's by their ratio."""
    ratio = f"{ours / peer:.2f}"
    return name, shown(ours), shown(peer), ratio, f"{most:g}", _goal_status(ours, most * peer)


def limit_line(name: str, ours: float, most: float, unit: str) -> tuple[str, ...]:
    """Compare a figure with a fixed limit."""
    return name, f"{shown(ours)} {unit}", "", "", f"{shown(most)} {unit}", _goal_status(ours, most)


def _goal_status(ours: float, most: float) -> str:
    return "reached" if ours <= most else "missed"


def _counts(row: Row, summaries: Sequence[Summary]) -> Iterator[tuple[str, ...]]:
    """Compare the number of requests with 2N + 4, and the CPU time with the floor's."""
    ours = [each for each in summaries if each.program == f"{_OURS}, warm"]
    floors = [each for each in summaries if each.program == FLOOR]
    if row.name == "many, missing, TLS" and ours:
        found, blobs = ours[0].destination_requests, row.shape.layers + 1
        name = f"requests at the destination for {blobs} missing blobs"
        yield limit_line(name, int(found), 2 * blobs + 4, "requests")
    if row.name == "big, missing, TLS" and ours and floors:
        name = "`big` over TLS, cpu; beside the floor"
        cpu, floor = ours[0].cpu_seconds.median, floors[0].cpu_seconds.median
        yield goal_line(name, cpu, floor, 1.15)


def best_peer(summaries: Iterable[Summary], figure: Callable[[Summary], float]) -> float:
    """Return the lowest figure of the other programs."""
    return min(figure(each) for each in summaries if is_peer(each.program))


def is_peer(program: str) -> bool:
    """Return whether a program is not part of this project."""
    return not program.startswith((_OURS, FLOOR))


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Render a table, with the first column left-aligned and the others right-aligned."""
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *lines))
