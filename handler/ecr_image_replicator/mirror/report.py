"""The report of a mirror's run: counts, failures and digests for the next run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.mirror.compare import ComparisonStatus
from ecr_image_replicator.mirror.known import KnownDigests, options_fingerprint
from ecr_image_replicator.mirror.results import (
    ImageResult,
    ImageStatus,
    error_text,
    image_result,
    source_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ecr_image_replicator.mirror.known import KnownImages, OptionFingerprints
    from ecr_image_replicator.mirror.preparation import Preparation
    from ecr_image_replicator.model.platforms import Platform

#: Limit for the messages of failures in `Fn::GetAtt`.
_MAX_FAILURES_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class ChoiceSummary:
    """The results of selection and comparison, without the images to copy.

    Attributes
    ----------
    chosen, unchanged
        Images.
    failed
        Images that cannot be copied.
    vanished
        Destinations of tags that the source no longer has.
    warnings
        Patterns without a match, and names that are not valid tags.
    """

    chosen: int = 0
    unchanged: int = 0
    failed: tuple[ImageResult, ...] = ()
    vanished: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, preparation: Preparation) -> ChoiceSummary:
        """Summarise a preparation."""
        return cls(
            chosen=preparation.chosen,
            unchanged=preparation.count(ComparisonStatus.UNCHANGED),
            failed=tuple(_failed(preparation)),
            vanished=tuple(
                f"{each.entry.destination_name}:{tag}"
                for each in preparation.entries
                for tag in each.vanished
            ),
            warnings=tuple(
                f"{each.entry.source_name}: {warning}"
                for each in preparation.entries
                for warning in each.choice.warnings
            ),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "Chosen": self.chosen,
            "Unchanged": self.unchanged,
            "Failed": [each.as_json() for each in self.failed],
            "Vanished": list(self.vanished),
            "Warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> ChoiceSummary:
        """Parse the stored form."""
        return cls(
            chosen=fields["Chosen"],
            unchanged=fields["Unchanged"],
            failed=tuple(map(ImageResult.from_json, fields["Failed"])),
            vanished=tuple(fields["Vanished"]),
            warnings=tuple(fields["Warnings"]),
        )


@dataclass(frozen=True, slots=True)
class MirrorReport:
    """The report of a run.

    Attributes
    ----------
    results
        Results of all images of all workers.
    """

    choice: ChoiceSummary
    results: tuple[ImageResult, ...] = ()
    duration_seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[ImageResult, ...]:
        """Images that could not be copied."""
        found = [each for each in self.results if each.status is ImageStatus.FAILED]
        return (*self.choice.failed, *found)

    @property
    def left(self) -> tuple[ImageResult, ...]:
        """Images that were not copied in time."""
        return tuple(each for each in self.results if each.status is ImageStatus.LEFT)

    @property
    def copied(self) -> tuple[ImageResult, ...]:
        """Images with pushed content."""
        return tuple(each for each in self.results if each.status is ImageStatus.COPIED)

    def values(self) -> dict[str, str]:
        """Return the values for `Fn::GetAtt`."""
        counts = Counter(each.status for each in self.results)
        return {
            "Chosen": str(self.choice.chosen),
            "Copied": str(counts[ImageStatus.COPIED]),
            "Unchanged": str(self.choice.unchanged + counts[ImageStatus.UNCHANGED]),
            "Failed": str(len(self.failed)),
            "Left": str(counts[ImageStatus.LEFT]),
            "Vanished": str(len(self.choice.vanished)),
            "BytesCopied": str(sum(each.bytes_copied for each in self.results)),
            "DurationSeconds": f"{self.duration_seconds:.3f}",
            "Changed": "true" if counts[ImageStatus.COPIED] else "false",
            "Failures": first_failures(self.failed),
        }

    def as_json(self) -> dict[str, Any]:
        """Return the report."""
        values = self.values()
        del values["Failures"]
        return {
            **self.details,
            "Summary": values,
            "Failed": [each.as_json() for each in self.failed],
            "Left": [each.as_json() for each in self.left],
            "Copied": [each.as_json() for each in self.copied],
            "Vanished": list(self.choice.vanished),
            "Warnings": list(self.choice.warnings),
        }


def first_failures(failed: Sequence[ImageResult]) -> str:
    """Join the first messages, at most 1 KiB of them."""
    lines: list[str] = []
    size_bytes = 0
    for each in failed:
        line = f"{each.destination}: {each.error}"
        size_bytes += len(line.encode()) + 1
        if size_bytes > _MAX_FAILURES_BYTES - 32:
            if not lines:
                lines.append(line.encode()[: _MAX_FAILURES_BYTES - 64].decode(errors="ignore"))
            break
        lines.append(line)
    if len(lines) < len(failed):
        lines.append(f"and {len(failed) - len(lines)} more")
    return "\n".join(lines)


def choice_lines(preparation: Preparation) -> Iterator[dict[str, str]]:
    """Yield all decisions of a mirror with their reasons, for dry runs."""
    for prepared in preparation.entries:
        entry = prepared.entry
        for compared in prepared.images:
            image = compared.image
            if compared.status is ComparisonStatus.FAILED:
                continue
            yield {
                "Source": source_text(entry.template.source, image),
                "Destination": f"{entry.destination_name}:{image.destination_tags[0]}",
                "Action": _ACTIONS[compared.status],
                "Reason": image.reason,
            }
        for decision in prepared.choice.left_out:
            yield {
                "Source": f"{entry.source_name}:{decision.tag}",
                "Destination": "",
                "Action": "leave out",
                "Reason": decision.reason,
            }
    for failed in _failed(preparation):
        yield {
            "Source": failed.source,
            "Destination": failed.destination,
            "Action": "fail",
            "Reason": failed.error,
        }


_ACTIONS: Final = {
    ComparisonStatus.CHANGED: "copy",
    ComparisonStatus.UNCHANGED: "unchanged",
    ComparisonStatus.UNCOMPARED: "compare and copy",
}


def remember_digests(
    known: KnownImages, options: OptionFingerprints, results: Iterable[ImageResult]
) -> None:
    """Record the digests of copied and unchanged images."""
    for result in results:
        repository = result.destination.rpartition(":")[0]
        if result.source_digest is None or result.destination_digest is None:
            continue
        for tag in result.destination_tags:
            known.remember(
                f"{repository}:{tag}",
                KnownDigests(
                    result.source_digest,
                    result.destination_digest,
                    options.find(repository, tag),
                ),
            )


def remember_unchanged(
    known: KnownImages, preparation: Preparation, default_platforms: Sequence[Platform]
) -> None:
    """Record images whose source and destination digests are equal."""
    for prepared in preparation.entries:
        options = options_fingerprint(prepared.entry.template, default_platforms)
        for compared in prepared.with_status(ComparisonStatus.UNCHANGED):
            digest = compared.image.digest
            if digest is None:
                continue
            for tag in compared.image.destination_tags:
                name = f"{prepared.entry.destination_name}:{tag}"
                found = known.find(name)
                if found is None or found.source != digest:
                    known.remember(name, KnownDigests(digest, digest, options))


def _failed(preparation: Preparation) -> Iterator[ImageResult]:
    """Yield the images that cannot be copied."""
    for prepared in preparation.entries:
        entry = prepared.entry
        if prepared.error is not None:
            yield ImageResult(
                source=entry.source_name,
                destination=entry.destination_name,
                destination_tags=(),
                status=ImageStatus.FAILED,
                error=error_text(prepared.error, entry),
                kind=prepared.error.kind,
            )
        for tag in prepared.choice.missing:
            yield ImageResult(
                source=f"{entry.source_name}:{tag}",
                destination=f"{entry.destination_name}:{tag}",
                destination_tags=(tag,),
                status=ImageStatus.FAILED,
                error=f"cannot pull {entry.source_name}:{tag}: tag not found in the repository's "
                "list of tags. Check the tag.",
                kind="NotFound",
            )
        for compared in prepared.with_status(ComparisonStatus.FAILED):
            error = compared.error
            yield image_result(
                entry,
                compared.image,
                ImageStatus.FAILED,
                error=error_text(error, entry) if error else "failed",
                kind=error.kind if error else "",
            )
