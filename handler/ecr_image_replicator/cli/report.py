"""The text that the command line prints at the end: a summary, or the plan of a dry run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ecr_image_replicator.outcome import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecr_image_replicator.copy.dry_run import PlannedChanges
    from ecr_image_replicator.outcome import Outcome

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")


def size(count_bytes: float) -> str:
    """Return a number of bytes in binary units: ``12.3 MiB``."""
    if count_bytes < 1024:
        return f"{count_bytes:.0f} B"
    power = 1
    # 1023.95 would be printed as 1024.0
    while count_bytes / 1024**power >= 1023.95 and power < len(_UNITS):
        power += 1
    return f"{count_bytes / 1024**power:.1f} {_UNITS[power - 1]}"


def blobs(count: int, count_bytes: int | None = None) -> str:
    """Return a number of blobs and their bytes: ``3 blobs, 1.2 MiB``."""
    text = f"{count} blob{'' if count == 1 else 's'}"
    return text if count_bytes is None else f"{text}, {size(count_bytes)}"


def summary(outcome: Outcome) -> str:
    """Return one line that says what was done, with the tags that now have the digest."""
    image = f"{outcome.destination}@{outcome.digest}"
    if not outcome.changed:
        return f"{image} is up to date"
    report = outcome.report
    parts = [f"{blobs(report.blobs_copied, report.bytes_copied)} copied"]
    if report.blobs_mounted:
        parts.append(f"{report.blobs_mounted} mounted")
    if report.blobs_skipped:
        parts.append(f"{report.blobs_skipped} already there")
    if outcome.referrers is not None:
        count = len(outcome.referrers.copied)
        parts.append(f"{count} referrer{'' if count == 1 else 's'} copied")
    if outcome.moved_tags:
        parts.append(f"tags pushed: {' '.join(outcome.moved_tags)}")
    return f"{image}: {', '.join(parts)} in {outcome.duration_seconds:.1f} s"


def plan_lines(outcome: Outcome, plan: PlannedChanges) -> Iterator[str]:
    """Yield what a real run would do, one step per line."""
    report = outcome.report
    if plan.makes_repository:
        yield f"create {outcome.destination.name}"
    for blob in plan.copied:
        yield f"copy   {blob.digest}  {size(blob.size_bytes)}"
    for blob in plan.mounted:
        yield f"mount  {blob.digest}  {size(blob.size_bytes)}"
    if report.blobs_skipped:
        yield f"skip   {blobs(report.blobs_skipped, report.bytes_skipped)}, already there"
    for digest in plan.manifests:
        yield f"push   {digest or f'a manifest that is {UNKNOWN}'}"
    for move in plan.tags:
        yield f"tag    {move.tag}  {move.before or 'none'} -> {move.after or UNKNOWN}"
    if not outcome.changed:
        yield f"{outcome.destination}@{outcome.digest} is up to date"
    elif plan.knows_sizes:
        yield f"{blobs(report.blobs_copied, report.bytes_copied)} to copy"
    else:
        yield f"{blobs(report.blobs_copied)} to copy; their compressed sizes are not known yet"
