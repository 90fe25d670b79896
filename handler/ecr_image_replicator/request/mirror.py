"""The request of a mirror: sets of images, each with its source and destination."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import Side
from ecr_image_replicator.model.archive_references import ArchiveReference
from ecr_image_replicator.model.references import DOCKER_HUB
from ecr_image_replicator.model.tag_patterns import TagPattern

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.model.versions import VersionRange
    from ecr_image_replicator.request.parsing import ReplicationRequest

DEFAULT_CONCURRENCY: Final = {DOCKER_HUB: 2, "*": 4}
#: The host of archives, among hosts of registries.
ARCHIVE_HOST: Final = "s3"
#: A suffix that only versions without one match.
RELEASES_ONLY: Final = TagPattern("")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tags of a source repository are mirrored.

    Attributes
    ----------
    tags
        Exact tags and globs, never limited by `newest`.
    versions
        The versions to choose from; None for none.
    suffix
        What must follow a version's numbers; the empty pattern for releases only.
    newest
        How many of the versions, highest first; None for all.
    exclude
        Globs over tags, applied before `newest` counts.
    only_missing
        Whether tags that exist at the destination are left alone without comparing.
    """

    tags: tuple[TagPattern, ...] = ()
    versions: VersionRange | None = None
    suffix: TagPattern = RELEASES_ONLY
    newest: int | None = None
    exclude: tuple[TagPattern, ...] = ()
    only_missing: bool = False

    @property
    def named(self) -> frozenset[str]:
        """The exact tags that are not excluded."""
        return frozenset(
            each.text
            for each in self.tags
            if each.is_exact and not any(glob.matches(each.text) for glob in self.exclude)
        )

    @property
    def needs_list(self) -> bool:
        """Whether the source's tags must be listed: exact tags alone are looked up."""
        return self.versions is not None or not all(tag.is_exact for tag in self.tags)


@dataclass(frozen=True, slots=True)
class MirrorEntry:
    """One repository, or images of one source and destination repository.

    Attributes
    ----------
    name
        For messages: ``Repositories[0]``.
    template
        The request for each image of the entry, with a placeholder for its tags.
    selection
        None for images that were listed one by one.
    images
        Those: each source with its destination tags.
    """

    name: str
    template: ReplicationRequest
    selection: Selection | None = None
    images: tuple[tuple[ImageReference | ArchiveReference, tuple[str, ...]], ...] = ()

    @property
    def source_host(self) -> str:
        """The host that the images come from; archives share one."""
        source = self.template.source
        return ARCHIVE_HOST if isinstance(source, ArchiveReference) else source.registry

    @property
    def source_name(self) -> str:
        """The source repository, or the archive's location."""
        source = self.template.source
        return source.location if isinstance(source, ArchiveReference) else source.name

    def property_of(self, side: Side) -> str:
        """Name the property that has the source or the destination, for messages."""
        is_source = side is Side.SOURCE
        if self.selection is not None:
            return f"{self.name}.{'SrcRepository' if is_source else 'DestRepository'}"
        own = "SrcImage" if is_source else "DestImage"
        # images of one repository pair are in one entry, named by the first
        return f"{self.name}.{own}" if len(self.images) == 1 else own

    @property
    def destination_name(self) -> str:
        """The destination repository."""
        return self.template.destination.name


@dataclass(frozen=True, slots=True)
class MirrorRequest:
    """The parsed properties of a mirror.

    Attributes
    ----------
    entries
        Repositories and images, in their order.
    concurrency
        Workers at a time per source host; ``*`` stands for any other host.
    max_failures
        More failed images than this fail the mirror.
    completes_when_started
        Whether the response is sent once the run has begun.
    schedule, schedule_timezone
        An EventBridge Scheduler expression; "" for none.
    dry_run
        Whether only the choice is made.
    """

    entries: tuple[MirrorEntry, ...]
    concurrency: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULT_CONCURRENCY))
    max_failures: int = 0
    completes_when_started: bool = False
    schedule: str = ""
    schedule_timezone: str = ""
    dry_run: bool = False

    def concurrency_of(self, host: str) -> int:
        """Return how many workers may copy from a host at a time."""
        return self.concurrency.get(host, self.concurrency.get("*", DEFAULT_CONCURRENCY["*"]))
