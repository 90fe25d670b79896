"""Choosing and comparing for every entry of a mirror: hosts and repositories at once."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import (
    NotFoundError,
    ReplicationError,
    RequestError,
    Side,
    StoppedError,
)
from ecr_image_replicator.mirror.choose import TagChoice, choose_tags
from ecr_image_replicator.mirror.compare import (
    ComparedImage,
    Comparer,
    DestinationDigests,
    MirrorImage,
    Verdict,
)
from ecr_image_replicator.model.archive_references import ArchiveReference
from ecr_image_replicator.retries import Backoff

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ecr_image_replicator.mirror.known import KnownImages
    from ecr_image_replicator.replicate import Replicator
    from ecr_image_replicator.request.mirror import MirrorEntry, MirrorRequest, Selection

_LOGGER: Final = logging.getLogger(__name__)
MAX_IMAGES: Final = 10_000
#: Afterwards the rest is left to the workers, which compare each image themselves.
COMPARE_SECONDS: Final = 300.0
#: Per source host.
_REPOSITORIES_AT_ONCE: Final = 4
_HEADS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class PreparedEntry:
    """What is to be done for an entry.

    Attributes
    ----------
    index
        The entry's position in the mirror.
    choice
        Of its tags; empty for images that were listed one by one.
    images
        Every chosen image, compared.
    vanished
        Tags that an earlier run copied and that the source no longer lists.
    error
        Why its tags could not be listed; None when they were.
    """

    index: int
    entry: MirrorEntry
    choice: TagChoice = field(default_factory=TagChoice)
    images: tuple[ComparedImage, ...] = ()
    vanished: tuple[str, ...] = ()
    error: ReplicationError | None = None

    def with_verdict(self, *verdicts: Verdict) -> tuple[ComparedImage, ...]:
        """Return the images that comparing said this of."""
        return tuple(each for each in self.images if each.verdict in verdicts)


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is to be done for a mirror."""

    entries: tuple[PreparedEntry, ...]

    @property
    def chosen(self) -> int:
        """How many images were chosen, those that cannot be found included."""
        return sum(
            len(each.images) + len(each.choice.missing) + (each.error is not None)
            for each in self.entries
        )

    def count(self, *verdicts: Verdict) -> int:
        """Count the images that comparing said this of."""
        return sum(len(each.with_verdict(*verdicts)) for each in self.entries)


def prepare(
    replicator: Replicator,
    mirror: MirrorRequest,
    known: KnownImages,
    deadline: Deadline,
    *,
    compare_seconds: float = COMPARE_SECONDS,
) -> Preparation:
    """Choose and compare every entry's images.

    Parameters
    ----------
    compare_seconds
        For one host; images that are not compared by then stay uncompared.

    Raises
    ------
    RequestError
        More than 10,000 images are chosen, or two entries have the same destination.
    NotAllowedError
        The function does not serve an entry.
    StoppedError
        The deadline was stopped.
    """
    for entry in mirror.entries:
        replicator.settings.allowed.check(entry.template)
    hosts: dict[str, list[tuple[int, MirrorEntry]]] = {}
    for index, entry in enumerate(mirror.entries):
        hosts.setdefault(entry.source_host, []).append((index, entry))
    found: list[PreparedEntry] = []
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(max(1, len(hosts)), "hosts"))

        def prepare_host(entries: Sequence[tuple[int, MirrorEntry]]) -> list[PreparedEntry]:
            host = _HostPreparation(replicator, known, deadline, compare_seconds)
            return host.prepare(entries)

        for prepared in pool.map(prepare_host, hosts.values()):
            found += prepared
    preparation = Preparation(tuple(sorted(found, key=lambda each: each.index)))
    _check(preparation)
    return preparation


class _HostPreparation:
    """Prepares the entries of one source host, with so many requests at once."""

    def __init__(
        self,
        replicator: Replicator,
        known: KnownImages,
        deadline: Deadline,
        compare_seconds: float,
    ) -> None:
        self._replicator = replicator
        self._known = known
        self._deadline = deadline
        self._compare_seconds = compare_seconds

    def prepare(self, entries: Sequence[tuple[int, MirrorEntry]]) -> list[PreparedEntry]:
        comparing = self._deadline.branch(self._compare_seconds)
        with (
            ThreadPoolExecutor(_HEADS_AT_ONCE, "heads") as heads,
            ThreadPoolExecutor(_REPOSITORIES_AT_ONCE, "repositories") as repositories,
            comparing.enforced(),
        ):
            return list(
                repositories.map(
                    lambda each: self._prepare_entry(each[0], each[1], heads, comparing), entries
                )
            )

    def _prepare_entry(
        self, index: int, entry: MirrorEntry, heads: ThreadPoolExecutor, comparing: Deadline
    ) -> PreparedEntry:
        if isinstance(entry.template.source, ArchiveReference):
            images = [
                ComparedImage(MirrorImage(str(source), tags), Verdict.UNCOMPARED)
                for source, tags in entry.images
            ]
            return PreparedEntry(index, entry, images=tuple(images))
        try:
            choice, chosen, vanished = self._choose(entry)
            compared = self._compare(entry, chosen, heads, comparing)
        except StoppedError:
            raise
        except ReplicationError as error:
            _LOGGER.warning("cannot prepare %s: %s", entry.source_name, error)
            return PreparedEntry(index, entry, error=error)
        return PreparedEntry(index, entry, choice, tuple(compared), vanished)

    def _choose(
        self, entry: MirrorEntry
    ) -> tuple[TagChoice, Sequence[MirrorImage], tuple[str, ...]]:
        """Return the choice, the images that it means, and the tags that are gone."""
        selection = entry.selection
        if selection is None:
            images = [
                MirrorImage(_selector(source), tags, reason="listed")
                for source, tags in entry.images
            ]
            return TagChoice(), images, ()
        if not selection.needs_list:
            named = choose_tags([each.text for each in selection.tags], selection)
            return named, _images(named), ()
        backoff = Backoff(entry.template.retry_policy, self._deadline)
        reader = self._replicator.endpoints.open_tag_reader(
            entry.template, Side.SOURCE, backoff, self._deadline
        )
        listed = reader.list_tags()
        choice = choose_tags(listed, selection)
        present = frozenset(listed)
        vanished = tuple(
            tag for tag in self._known.tags_of(entry.destination_name) if tag not in present
        )
        return choice, _images(choice), vanished

    def _compare(
        self,
        entry: MirrorEntry,
        images: Iterable[MirrorImage],
        heads: ThreadPoolExecutor,
        comparing: Deadline,
    ) -> list[ComparedImage]:
        request, endpoints = entry.template, self._replicator.endpoints
        backoff = Backoff(request.retry_policy, comparing)
        source = endpoints.open_tag_reader(request, Side.SOURCE, backoff, comparing)
        destination = endpoints.open_tag_reader(request, Side.DESTINATION, backoff, comparing)
        lister = endpoints.open_tag_digest_lister(request, comparing)
        try:
            listed = lister.list_tag_digests() if lister is not None else None
        except NotFoundError:
            listed = {}  # the repository may be created by the first copy
        comparer = Comparer(
            request,
            source,
            DestinationDigests(listed, destination.find),
            self._known,
            default_platforms=self._replicator.settings.default_platforms,
            only_missing=_only_missing(entry.selection),
        )
        return comparer.compare_all(images, heads, comparing)


def _only_missing(selection: Selection | None) -> bool:
    return selection is not None and selection.only_missing


def _selector(source: object) -> str:
    return str(getattr(source, "selector", source))


def _images(choice: TagChoice) -> list[MirrorImage]:
    return [MirrorImage(each.tag, (each.tag,), reason=each.reason) for each in choice.chosen]


def _check(preparation: Preparation) -> None:
    """Reject what only the tags show to be wrong.

    Raises
    ------
    RequestError
        Too many images are chosen, or a destination tag is written to twice.
    """
    if preparation.chosen > MAX_IMAGES:
        raise RequestError(
            f"invalid mirror: {preparation.chosen} images are chosen, at most {MAX_IMAGES} may be",
            hint="Narrow Tags or Versions, or split the mirror.",
        )
    owners: dict[tuple[str, str], str] = {}
    for each in preparation.entries:
        for image in each.images:
            for tag in image.image.destination_tags:
                place = each.entry.destination_name, tag
                first = owners.setdefault(place, each.entry.name)
                if first != each.entry.name:
                    raise RequestError(
                        f"invalid mirror: {first} and {each.entry.name} both write to "
                        f"{place[0]}:{tag}"
                    )
