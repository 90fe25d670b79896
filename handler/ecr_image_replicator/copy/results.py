"""What became of each blob of a replication, each digest counted once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from ecr_image_replicator.copy.ports import BlobOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor

#: The outcome that counts when several transfers dealt with one blob.
_PRECEDENCE: Final = (BlobOutcome.COPIED, BlobOutcome.MOUNTED, BlobOutcome.SKIPPED)


class BlobResult(NamedTuple):
    """The outcome of one blob."""

    outcome: BlobOutcome
    size_bytes: int


BlobResults = Mapping["Digest", BlobResult]


class TransferReport(NamedTuple):
    """The counts of a transfer."""

    blobs_copied: int = 0
    blobs_mounted: int = 0
    blobs_skipped: int = 0
    bytes_copied: int = 0
    bytes_skipped: int = 0


def results_of(blobs: Iterable[Descriptor], outcome: BlobOutcome) -> dict[Digest, BlobResult]:
    """Return the same outcome for several blobs."""
    return {blob.digest: BlobResult(outcome, blob.size_bytes) for blob in blobs}


def merge_results(*results: BlobResults) -> dict[Digest, BlobResult]:
    """Return the results of several transfers; a blob that one of them copied is copied."""
    merged: dict[Digest, BlobResult] = {}
    for each in results:
        for digest, result in each.items():
            known = merged.get(digest)
            if known is None or _rank(result) < _rank(known):
                merged[digest] = result
    return merged


def count_results(results: BlobResults) -> TransferReport:
    """Count blobs and bytes by outcome."""

    def sizes(outcome: BlobOutcome) -> list[int]:
        return [each.size_bytes for each in results.values() if each.outcome is outcome]

    copied, skipped = sizes(BlobOutcome.COPIED), sizes(BlobOutcome.SKIPPED)
    return TransferReport(
        blobs_copied=len(copied),
        blobs_mounted=len(sizes(BlobOutcome.MOUNTED)),
        blobs_skipped=len(skipped),
        bytes_copied=sum(copied),
        bytes_skipped=sum(skipped),
    )


def _rank(result: BlobResult) -> int:
    return _PRECEDENCE.index(result.outcome)
