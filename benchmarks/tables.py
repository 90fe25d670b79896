"""Tables of rows in Markdown, and the goals of some rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.images import MEBIBYTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from benchmarks.rows import Row
    from benchmarks.samples import Summary

_GIBIBYTE: Final = 1024 * MEBIBYTE
_OURS: Final = "ours"
#: Programs that are no peers: the floor only moves bytes.
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
_GOAL_HEAD: Final = ("goal", "ours", "best peer", "ratio", "at most", "")


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal for a figure.

    Attributes
    ----------
    row
        The start of the row's name.
    figure
        Ours and the peers' alike.
    most
        Of the best peer's figure.
    """

    name: str
    row: str
    figure: Callable[[Summary], float]
    most: float


GOALS: Final = (
    Goal("`big` over TLS, cpu", "big, missing, TLS", lambda s: s.cpu_seconds.median, 0.9),
    Goal("`many` at 20 ms, wall", "many, missing, TLS, 20", lambda s: s.wall_seconds.median, 0.5),
    Goal("there already, wall", "many, there, TLS, 20", lambda s: s.wall_seconds.median, 0.3),
    Goal("`multi` at 20 ms, wall", "multi, missing, TLS, 20", lambda s: s.wall_seconds.median, 0.5),
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


def goal_table(
    measured: Sequence[tuple[Row, Sequence[Summary]]], others: Sequence[tuple[str, ...]] = ()
) -> str:
    """Render the goals of the measured rows, and the goals that were measured separately."""
    lines: list[tuple[str, ...]] = []
    for goal in GOALS:
        found = [summaries for row, summaries in measured if row.name.startswith(goal.row)]
        if not found:
            continue
        ours = min(goal.figure(each) for each in found[0] if each.program.startswith(_OURS))
        peer = best_peer(found[0], goal.figure)
        lines.append(goal_line(goal.name, ours, peer, goal.most))
    return markdown_table(_GOAL_HEAD, [*lines, *_counts(measured), *others])


def goal_line(name: str, ours: float, peer: float, most: float) -> tuple[str, ...]:
    """Compare a figure with a peer's by their ratio."""
    verdict = "reached" if ours <= most * peer else "missed"
    return name, f"{ours:.3g}", f"{peer:.3g}", f"{ours / peer:.2f}", f"{most:g}", verdict


def _counts(measured: Sequence[tuple[Row, Sequence[Summary]]]) -> Iterator[tuple[str, ...]]:
    """Compare our requests with 2N + 4, and our CPU time with the floor's."""
    for row, summaries in measured:
        ours = [each for each in summaries if each.program == f"{_OURS}, warm"]
        if row.name == "many, missing, TLS" and ours:
            found, blobs = ours[0].destination_requests, row.shape.layers + 1
            peer = best_peer(summaries, lambda s: s.destination_requests)
            verdict = "reached" if found <= 2 * blobs + 4 else "missed"
            name = f"requests at the destination for {blobs} missing blobs"
            ratio = f"{found / peer:.2f}"
            yield name, f"{found:g}", f"{peer:g}", ratio, f"{2 * blobs + 4} requests", verdict
        floors = [each for each in summaries if each.program == FLOOR]
        if row.name == "big, missing, TLS" and ours and floors:
            name = "`big` over TLS, cpu; beside the floor"
            cpu, floor = ours[0].cpu_seconds.median, floors[0].cpu_seconds.median
            yield goal_line(name, cpu, floor, 1.15)


def best_peer(summaries: Iterable[Summary], figure: Callable[[Summary], float]) -> float:
    """Return the lowest figure of the other programs."""
    return min(figure(each) for each in summaries if not each.program.startswith((_OURS, FLOOR)))


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Render a table, with the first column left-aligned and the others right-aligned."""
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *lines))
