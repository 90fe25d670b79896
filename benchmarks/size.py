"""The download size of the function and its layer in a new execution environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import artifact, versions
from benchmarks.functions import PEER
from benchmarks.images import MEBIBYTE
from benchmarks.tables import limit_line, markdown_table

if TYPE_CHECKING:
    from benchmarks.report import Report

_TITLE: Final = "Size of the deployed artifact"
_MEGABYTE: Final = 1_000_000
_MOST_LAYER_MEGABYTES: Final = 35.0


def run(report: Report) -> None:
    """Measure and report the table and the goal."""
    with report.attempt(_TITLE):
        report.write(table())
        megabytes = artifact.unpacked_bytes(artifact.LAYER) / _MEGABYTE
        report.add_goals(limit_line("layer, unzipped", megabytes, _MOST_LAYER_MEGABYTES, "MB"))


def table() -> str:
    """Render the sizes."""
    paths = {
        "ours, function": artifact.FUNCTION,
        "ours, layer": artifact.LAYER,
        f"{versions.cdk_ecr_deployment()}, function": PEER,
    }
    lines = [
        (
            name,
            f"{artifact.zipped_bytes(path) / MEBIBYTE:.1f}",
            f"{artifact.unpacked_bytes(path) / MEBIBYTE:.1f}",
        )
        for name, path in paths.items()
    ]
    return f"### {_TITLE}\n\n{markdown_table(('', 'MiB zipped', 'MiB unzipped'), lines)}"
