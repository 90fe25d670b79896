"""Selection and comparison for all entries of a mirror, hosts and repositories in parallel."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import (
    NotFoundError,
    OutOfTimeError,
    ReplicationError,
    RequestError,
    Side,
    StoppedError,
    UnavailableError,
)
from ecr_image_replicator.mirror.choose import TagChoice, choose_tags
from ecr_image_replicator.mirror.compare import (
    ComparedImage,
    Comparer,
    ComparisonStatus,
    DestinationDigests,
    MirrorImage,
)
from ecr_image_replicator.model.archive_references import ArchiveReference
from ecr_image_replicator.model.references import ImageReference
from ecr_image_replicator.retries import Backoff

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.mirror.known import KnownImages
    from ecr_image_replicator.propagation import PermissionPropagation
    from ecr_image_replicator.replicate import Replicator
    from ecr_image_replicator.request.mirror import MirrorEntry, MirrorRequest, Selection
    from ecr_image_replicator.request.parsing import ReplicationRequest

_LOGGER: Final = logging.getLogger(__name__)
MAX_IMAGES: Final = 10_000
#: Time limit. Workers compare the remaining images.
COMPARE_SECONDS: Final = 300.0
#: Time limit for tag lists, so that a slow host leaves time for comparing the others' images.
LIST_SECONDS: Final = 240.0
#: Per source host.
_REPOSITORIES_AT_ONCE: Final = 4
_HEADS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class PreparedEntry:
    """The selected and compared images of an entry.

    Attributes
    ----------
    index
        The entry's position in the mirror.
    choice
        The selection of its tags, empty for images that are listed one by one.
    images
        All selected images with their comparison.
    vanished
        Tags of earlier runs that the source no longer has.
    error
        The error of listing its tags, or None.
    """

    index: int
    entry: MirrorEntry
    choice: TagChoice = field(default_factory=TagChoice)
    images: tuple[ComparedImage, ...] = ()
    vanished: tuple[str, ...] = ()
    error: ReplicationError | None = None

    def with_status(self, *statuses: ComparisonStatus) -> tuple[ComparedImage, ...]:
        """Return the images with this status."""
        return tuple(each for each in self.images if each.status in statuses)


@dataclass(frozen=True, slots=True)
class Preparation:
    """The selected and compared images of a mirror."""

    entries: tuple[PreparedEntry, ...]

    @property
    def chosen(self) -> int:
        """Number of selected images, including missing ones."""
        return sum(
            len(each.images) + len(each.choice.missing) + (each.error is not None)
            for each in self.entries
        )

    def count(self, *statuses: ComparisonStatus) -> int:
        """Count the images with this status."""
        return sum(len(each.with_status(*statuses)) for each in self.entries)


def prepare(
    replicator: Replicator,
    mirror: MirrorRequest,
    known: KnownImages,
    deadline: Deadline,
    *,
    compare_seconds: float = COMPARE_SECONDS,
    list_seconds: float = LIST_SECONDS,
    propagation: PermissionPropagation | None = None,
) -> Preparation:
    """Select and compare the images of all entries.

    Parameters
    ----------
    compare_seconds
        For every host; images that are not compared by then stay uncompared.
    list_seconds
        Of that, for the lists of tags; a repository whose list takes longer fails.
    propagation
        Retries of denials by AWS; None if a denial is final.

    Raises
    ------
    RequestError
        More than 10,000 images are selected, or two entries have the same destination.
    NotAllowedError
        An entry is not allowed by the function's settings.
    StoppedError
        The deadline was stopped.
    """
    for entry in mirror.entries:
        replicator.settings.allowed.check(entry.template)
    comparing = deadline.branch(compare_seconds)
    listing = comparing.branch(list_seconds)
    single_images = frozenset(
        (entry.destination_name, tag)
        for entry in mirror.entries
        for _, tags in entry.images
        for tag in tags
    )
    hosts: dict[str, _HostPreparation] = {}
    for index, entry in enumerate(mirror.entries):
        host = hosts.get(entry.source_host)
        if host is None:
            host = _HostPreparation(
                replicator, known, single_images, listing, comparing, propagation
            )
            hosts[entry.source_host] = host
        host.add(index, entry)
    with ThreadPoolExecutor(max(1, len(hosts)), "hosts") as pool:
        with listing.enforced():
            list(pool.map(_HostPreparation.choose, hosts.values()))
        # before the tags are looked up, which takes longer
        _check(Preparation(tuple(each for host in hosts.values() for each in host.entries)))
        with comparing.enforced():
            list(pool.map(_HostPreparation.compare, hosts.values()))
    entries = [each for host in hosts.values() for each in host.entries]
    return Preparation(tuple(sorted(entries, key=lambda each: each.index)))


class _HostPreparation:
    """The entries of one source host, prepared with a limit on concurrent requests."""

    def __init__(
        self,
        replicator: Replicator,
        known: KnownImages,
        single_images: Container[tuple[str, str]],
        listing: Deadline,
        comparing: Deadline,
        propagation: PermissionPropagation | None,
    ) -> None:
        self._replicator = replicator
        self._known = known
        self._single_images = single_images
        self._listing = listing
        self._comparing = comparing
        self._propagation = propagation
        self.entries: list[PreparedEntry] = []

    def add(self, index: int, entry: MirrorEntry) -> None:
        """Add an entry of the host."""
        self.entries.append(PreparedEntry(index, entry))

    def choose(self) -> None:
        """Choose the images of every entry."""
        with ThreadPoolExecutor(_REPOSITORIES_AT_ONCE, "lists") as pool:
            self.entries = list(pool.map(self._choose, self.entries))

    def compare(self) -> None:
        """Compare the images of all entries until the time limit."""
        with (
            ThreadPoolExecutor(_HEADS_AT_ONCE, "heads") as heads,
            ThreadPoolExecutor(_REPOSITORIES_AT_ONCE, "repositories") as repositories,
        ):
            self.entries = list(
                repositories.map(lambda each: self._compare(each, heads), self.entries)
            )

    def _choose(self, prepared: PreparedEntry) -> PreparedEntry:
        entry, selection = prepared.entry, prepared.entry.selection
        if selection is None:
            images = [
                MirrorImage(_selector(source), tags, reason="listed")
                for source, tags in entry.images
            ]
            return replace(prepared, images=_uncompared(images))
        if not selection.needs_list:
            choice = choose_tags([each.text for each in selection.tags], selection)
            return replace(prepared, choice=choice, images=_uncompared(_images(choice)))
        backoff = self._backoff(entry.template, self._listing)
        try:
            reader = self._replicator.endpoints.open_tag_reader(
                entry.template, Side.SOURCE, backoff, self._listing
            )
            listed = reader.list_tags()
        except StoppedError:
            raise
        except ReplicationError as error:
            _LOGGER.warning("cannot mirror %s: %s", entry.source_name, error)
            is_late = isinstance(error, OutOfTimeError)
            return replace(prepared, error=_late_list(entry) if is_late else error)
        choice = choose_tags(listed, selection)
        present = frozenset(listed)
        repository = entry.destination_name
        return replace(
            prepared,
            choice=choice,
            images=_uncompared(_images(choice)),
            vanished=tuple(
                tag
                for tag in self._known.tags_of(repository)
                # another image's tag can be in the same repository
                if tag not in present and (repository, tag) not in self._single_images
            ),
        )

    def _compare(self, prepared: PreparedEntry, heads: ThreadPoolExecutor) -> PreparedEntry:
        entry = prepared.entry
        if isinstance(entry.template.source, ArchiveReference) or not prepared.images:
            return prepared
        try:
            comparer = self._open_comparer(entry)
        except StoppedError:
            raise
        except ReplicationError as error:
            # the same error prevents copies: the first worker reports it
            _LOGGER.warning("cannot compare with %s: %s", entry.destination_name, error)
            return prepared
        images = [each.image for each in prepared.images]
        return replace(prepared, images=tuple(comparer.compare_all(images, heads, self._comparing)))

    def _backoff(self, request: ReplicationRequest, deadline: Deadline) -> Backoff:
        return Backoff(request.retry_policy, deadline, propagation=self._propagation)

    def _open_comparer(self, entry: MirrorEntry) -> Comparer:
        comparing = self._comparing
        request, endpoints = entry.template, self._replicator.endpoints
        backoff = self._backoff(request, comparing)
        source = endpoints.open_tag_reader(request, Side.SOURCE, backoff, comparing)
        destination = endpoints.open_tag_reader(request, Side.DESTINATION, backoff, comparing)
        lister = endpoints.open_tag_digest_lister(request, backoff, comparing)
        try:
            listed = lister.list_tag_digests() if lister is not None else None
        except NotFoundError:
            listed = {}  # the first copy can create the repository
        return Comparer(
            request,
            source,
            DestinationDigests(listed, destination.find),
            self._known,
            default_platforms=self._replicator.settings.default_platforms,
            only_missing=_only_missing(entry.selection),
        )


def _late_list(entry: MirrorEntry) -> UnavailableError:
    return UnavailableError(
        f"cannot list the tags of {entry.source_name}: timed out before the end of the list",
        side=Side.SOURCE,
        hint=f"Check that {entry.source_host} responds, or name the tags in Tags.",
    )


def _uncompared(images: Iterable[MirrorImage]) -> tuple[ComparedImage, ...]:
    return tuple(ComparedImage(image, ComparisonStatus.UNCOMPARED) for image in images)


def _only_missing(selection: Selection | None) -> bool:
    return selection is not None and selection.only_missing


def _selector(source: ImageReference | ArchiveReference) -> str:
    return source.selector if isinstance(source, ImageReference) else str(source)


def _images(choice: TagChoice) -> list[MirrorImage]:
    return [MirrorImage(each.tag, (each.tag,), reason=each.reason) for each in choice.chosen]


def _check(preparation: Preparation) -> None:
    """Reject errors that depend on the listed tags.

    Raises
    ------
    RequestError
        Too many images are selected, or two images have the same destination tag.
    """
    if preparation.chosen > MAX_IMAGES:
        raise RequestError(
            f"invalid mirror: {preparation.chosen} images are chosen, at most {MAX_IMAGES} may be",
            hint="Narrow Tags or Versions, or split the mirror.",
        )
    owners: dict[tuple[str, str], str] = {}
    for each in preparation.entries:
        for image in each.images:
            for tag in (*image.image.destination_tags, *each.entry.template.arch_tags.values()):
                place = each.entry.destination_name, tag
                first = owners.setdefault(place, each.entry.name)
                if first != each.entry.name:
                    raise RequestError(
                        f"invalid mirror: {first} and {each.entry.name} both write to "
                        f"{place[0]}:{tag}"
                    )
