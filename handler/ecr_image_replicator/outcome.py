"""The outcome of a replication, and its values for CloudFormation.

The names are those of docs/resource-reference.md, "Return values".
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from ecr_image_replicator.copy.results import TransferReport
from ecr_image_replicator.errors import InvalidReferenceError
from ecr_image_replicator.model.references import parse_image_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecr_image_replicator.copy.dry_run import PlannedChanges
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.platforms import Platform
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.referrers.copying import ReferrersReport

_LOGGER: Final = logging.getLogger(__name__)
DIGEST_PREFIX: Final = "Digest."
#: The log has all of them; a response to CloudFormation has at most 4,096 bytes.
_MAX_REFUSED_SHOWN: Final = 8
#: In plans: the digest of an image that would still have to be built.
UNKNOWN: Final = "to be made"


def parse_physical_id(physical_resource_id: str, destination: ImageReference) -> Digest | None:
    """Return the digest of a physical resource ID; None for another repository's."""
    try:
        previous = parse_image_reference(physical_resource_id)
    except InvalidReferenceError:
        return None
    return previous.digest if previous.name == destination.name else None


class Outcome(NamedTuple):
    """The outcome of a successful replication.

    Attributes
    ----------
    destination
        The destination with the resource's own tag.
    digest, media_type
        Of the manifest that the tags point at; the digest is None for a dry run that would have to
        build the image first.
    platforms
        The platform and digest of each image, in the index's order. For an unchanged single image
        only if it is known already.
    changed
        Whether anything was pushed.
    report
        The number of blobs by outcome.
    duration_seconds
        From the request to the outcome.
    referrers
        The outcome of the referrers; None when they are not copied.
    planned_changes
        The changes of a dry run; None for a real run.
    moved_tags
        The tags of the content that did not point at it before.
    """

    destination: ImageReference
    digest: Digest | None
    media_type: str
    platforms: tuple[tuple[Platform, Digest | None], ...]
    changed: bool
    report: TransferReport
    duration_seconds: float
    referrers: ReferrersReport | None = None
    planned_changes: PlannedChanges | None = None
    moved_tags: tuple[str, ...] = ()

    @property
    def physical_resource_id(self) -> str:
        """The tag and its content: ``host/repository:tag@sha256:…``; "" for a dry run."""
        if self.planned_changes is not None:
            return ""
        return f"{self.destination}@{self.digest}"

    def attributes(self) -> dict[str, str]:
        """Return the values for Fn::GetAtt."""
        destination, report = self.destination, self.report
        return {
            "ImageDigest": str(self.digest or ""),
            "ImageUri": f"{destination.name}@{self.digest}" if self.digest else "",
            "TaggedUri": f"{destination.name}:{destination.tag}",
            "RepositoryUri": destination.name,
            "RepositoryName": destination.repository,
            "ImageTag": destination.tag,
            "MediaType": self.media_type,
            "Platforms": ",".join(dict.fromkeys(str(platform) for platform, _ in self.platforms)),
            "Changed": "true" if self.changed else "false",
            "BlobsCopied": str(report.blobs_copied),
            "BlobsSkipped": str(report.blobs_skipped),
            "BlobsMounted": str(report.blobs_mounted),
            "BytesCopied": str(report.bytes_copied) if self._knows_sizes else "",
            "DurationSeconds": f"{self.duration_seconds:.3f}",
            **self._referrers(),
            **self._digests(),
        }

    def log_planned_changes(self) -> None:
        """Log the changes of a dry run, a line each."""
        for change, figures in self._planned_lines():
            _LOGGER.info("dry run: %s", change, extra=figures)

    def _planned_lines(self) -> Iterator[tuple[str, dict[str, object]]]:
        plan, report = self.planned_changes, self.report
        if plan is None:
            return
        if plan.makes_repository:
            yield "would make the repository", {"repository": self.destination.name}
        if report.blobs_copied:
            size_bytes = report.bytes_copied if self._knows_sizes else None
            blobs = [str(blob.digest) for blob in plan.copied]
            count = report.blobs_copied
            yield "would copy blobs", {"count": count, "bytes": size_bytes, "blobs": blobs}
        if plan.mounted:
            size_bytes = sum(blob.size_bytes for blob in plan.mounted)
            yield "would mount blobs", {"count": report.blobs_mounted, "bytes": size_bytes}
        if report.blobs_skipped:
            count = report.blobs_skipped
            yield "would find blobs there", {"count": count, "bytes": report.bytes_skipped}
        if plan.manifests:
            manifests = [str(digest or UNKNOWN) for digest in plan.manifests]
            yield "would push manifests", {"manifests": manifests}
        for move in plan.tags:
            before, after = move.before or "no such tag", move.after or UNKNOWN
            yield "would put a tag", {"tag": move.tag, "before": str(before), "after": str(after)}
        if not self.changed:
            yield "would change nothing", {"digest": str(self.digest)}

    @property
    def _knows_sizes(self) -> bool:
        return self.planned_changes is None or self.planned_changes.knows_sizes

    def _referrers(self) -> dict[str, str]:
        if self.referrers is None:
            return {}
        refused = [str(referrer.descriptor.digest) for referrer in self.referrers.refused]
        return {
            "ReferrersCopied": str(len(self.referrers.copied)),
            "ReferrersRefused": str(len(refused)),
            "RefusedReferrers": ",".join(refused[:_MAX_REFUSED_SHOWN]),
        }

    def _digests(self) -> dict[str, str]:
        """Return the digest of the first platform of each architecture."""
        digests: dict[str, str] = {}
        for platform, digest in self.platforms:
            digests.setdefault(f"{DIGEST_PREFIX}{platform.label}", str(digest or ""))
        return digests
