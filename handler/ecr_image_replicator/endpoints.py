"""The source and the destination of a replication."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecr_image_replicator.archive.source import ArchiveSource
    from ecr_image_replicator.copy.cache import CachingSource
    from ecr_image_replicator.copy.dry_run import DryRunWriter
    from ecr_image_replicator.copy.ports import ImageWriter, ReadOnlyDestination, ReferrerStore


class Endpoints(NamedTuple):
    """The source and the destination of a replication.

    Attributes
    ----------
    source
        Reads manifests and blobs of the source.
    destination
        Reads the destination.
    writer
        Writes to the destination, or records what a dry run would write.
    destination_referrers
        The referrers of the destination repository.
    source_referrers
        The referrers of the source repository; None for an archive.
    mount_from
        The source's repository if both endpoints are in one registry; None otherwise.
    archive
        The source if it is an archive, whose image may have to be built; None otherwise.
    dry_run
        The writer of a dry run; None for a real run.
    find_etag
        Returns the ETag of the source's S3 object; "" for other sources.
    on_close
        Closes the connections that are not kept for the next request.
    """

    source: CachingSource
    destination: ReadOnlyDestination
    writer: ImageWriter
    destination_referrers: ReferrerStore
    source_referrers: ReferrerStore | None = None
    mount_from: str | None = None
    archive: ArchiveSource | None = None
    dry_run: DryRunWriter | None = None
    find_etag: Callable[[], str] = str
    on_close: Callable[[], None] = lambda: None

    @property
    def etag(self) -> str:
        """The ETag of the source's S3 object; "" for other sources, and before it is read."""
        return self.find_etag()

    def require_source_referrers(self) -> ReferrerStore:
        """Return the referrers of the source; requests for archives never need them."""
        assert self.source_referrers is not None  # noqa: S101 - for mypy
        return self.source_referrers

    def close(self) -> None:
        """Close the archive, and the connections that are not kept."""
        if self.archive is not None:
            self.archive.close()
        self.on_close()
