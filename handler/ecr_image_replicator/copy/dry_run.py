"""A dry run: the engine at its work, before a destination that is asked and never written to.

Where a real run opens an upload session or pushes a manifest, a dry run records the change.
It accesses the destination through `ReadOnlyDestination` only, so it cannot write.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from ecr_image_replicator.copy.ports import BlobOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ecr_image_replicator.copy.ports import ReadOnlyDestination, ReferrersList, ReferrerStore
    from ecr_image_replicator.model.digests import ByteReader, Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest


@dataclass(frozen=True, slots=True)
class TagMove:
    """A tag that would be put.

    Attributes
    ----------
    before
        What it points at now; None when there is no such tag.
    after
        What it would point at; None when only making that would tell.
    """

    tag: str
    before: Digest | None
    after: Digest | None


@dataclass(frozen=True, slots=True)
class PlannedChanges:
    """What a real run would change at the destination.

    Attributes
    ----------
    makes_repository
        Whether it is missing, and would be made.
    copied, mounted
        Blobs, the largest first; of a layer whose blob is still to be made what is stored, by its
        diff_id.
    knows_sizes
        Whether `copied` is all there is; if not, only reading an archive through would tell.
    manifests
        That would be put, in their order; None for one that is still to be made.
    tags
        That would be put, in their order.
    """

    makes_repository: bool = False
    copied: tuple[Descriptor, ...] = ()
    mounted: tuple[Descriptor, ...] = ()
    knows_sizes: bool = True
    manifests: tuple[Digest | None, ...] = ()
    tags: tuple[TagMove, ...] = ()


class DryRunDestination:
    """A destination that would be written to.

    Parameters
    ----------
    destination
        Is asked.
    mounts
        Whether blobs would be mounted from the source's repository.
    """

    def __init__(self, destination: ReadOnlyDestination, *, mounts: bool) -> None:
        self._destination = destination
        self._mounts = mounts
        self._lock = threading.Lock()
        self._blobs: dict[Digest, tuple[Descriptor, BlobOutcome]] = {}
        self._manifests: dict[Digest, None] = {}
        self._before: dict[str, Digest | None] = {}
        self._after: dict[str, Digest] = {}

    def planned_changes(self) -> PlannedChanges:
        """Give what was written down; asks for the repository if nothing has told of it yet.

        Raises
        ------
        RegistryError
            The repository is missing and is not to be made.
        """
        is_change = bool(self._blobs or self._manifests)
        blobs = sorted(self._blobs.values(), key=lambda each: -each[0].size_bytes)
        return PlannedChanges(
            makes_repository=is_change and self._destination.repository_missing(),
            copied=tuple(blob for blob, how in blobs if how is BlobOutcome.COPIED),
            mounted=tuple(blob for blob, how in blobs if how is BlobOutcome.MOUNTED),
            manifests=tuple(self._manifests),
            tags=tuple(
                TagMove(tag, self._before.get(tag), digest) for tag, digest in self._after.items()
            ),
        )

    def plan_build(
        self,
        missing: Sequence[Descriptor] | None,
        tags: Iterable[str],
        found: Mapping[str, Digest | None],
    ) -> PlannedChanges:
        """Return the changes of building an image, whose digest is not known.

        Parameters
        ----------
        missing
            What would be pushed; None if only reading the whole archive would tell.
        tags, found
            The tags that would be put, and what each tag points at now.
        """
        return PlannedChanges(
            makes_repository=self.repository_missing(),
            copied=tuple(missing or ()),
            knows_sizes=missing is not None,
            manifests=(None,),
            tags=tuple(TagMove(tag, found[tag], None) for tag in tags),
        )

    @property
    def needs_existence_check(self) -> bool:
        """Whether a blob that `find_blobs` did not name may be there all the same."""
        return self._destination.needs_existence_check

    def repository_missing(self) -> bool:
        """Tell whether it is missing, and would be made."""
        return self._destination.repository_missing()

    def find_manifest(self, tag: str) -> Manifest | None:
        """Read what the tag points at."""
        manifest = self._destination.find_manifest(tag)
        self.learn_tag(tag, manifest.digest if manifest else None)
        return manifest

    def find_digest(self, tag: str) -> Digest | None:
        """Give what the tag points at without reading it."""
        digest = self._destination.find_digest(tag)
        self.learn_tag(tag, digest)
        return digest

    def learn_tag(self, tag: str, digest: Digest | None) -> None:
        """Write down what a tag points at."""
        with self._lock:
            self._before[tag] = digest

    def check_tags(self, tags: Mapping[str, Digest | None], content: Digest) -> None:
        """Refuse what a real run would refuse."""
        self._destination.check_tags(tags, content)

    def find_blobs(self, descriptors: Sequence[Descriptor]) -> frozenset[Digest]:
        """Ask, and count what would have been sent by now as there."""
        there = self._destination.find_blobs(descriptors)
        with self._lock:
            return there.union(self._blobs)

    def has_blob(self, digest: Digest) -> bool:
        """Ask for one blob."""
        return self._destination.has_blob(digest)

    def start_upload(self, descriptor: Descriptor, *, mount_from: str | None) -> BlobOutcome:
        """Say how a blob would come to be there."""
        if self._destination.needs_existence_check and self._destination.has_blob(
            descriptor.digest
        ):
            return BlobOutcome.SKIPPED
        outcome = BlobOutcome.MOUNTED if self._mounts and mount_from else BlobOutcome.COPIED
        with self._lock:
            if descriptor.digest in self._blobs:
                return BlobOutcome.SKIPPED  # another image, or referrer, would have brought it
            self._blobs[descriptor.digest] = (descriptor, outcome)
        return outcome

    def open_upload(self, descriptor: Descriptor) -> NoReturn:
        """Never: a blob is sent again only after a manifest was refused, and none is pushed."""
        raise AssertionError(descriptor)

    def start_streamed_upload(self) -> NoReturn:
        """Never: no layer is made."""
        raise AssertionError

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[ByteReader]:
        """Start reading a blob that is there."""
        return self._destination.open_blob(descriptor)

    def push_manifest(self, manifest: Manifest, reference: str) -> None:
        """Write down what would be put."""
        with self._lock:
            self._manifests[manifest.digest] = None
            if reference != str(manifest.digest):
                self._after[reference] = manifest.digest


class DryRunReferrers:
    """What refers to images of a destination that would be written to.

    Parameters
    ----------
    store
        Is asked.
    destination
        Learns which tags there are.
    """

    def __init__(self, store: ReferrerStore, destination: DryRunDestination) -> None:
        self._store = store
        self._destination = destination

    def list_referrers(self, subject: Digest, artifact_type: str = "") -> ReferrersList:
        """List what refers to a manifest now."""
        return self._store.list_referrers(subject, artifact_type)

    def find_tagged(self, tag: str) -> Manifest | None:
        """Read what a tag points at."""
        manifest = self._store.find_tagged(tag)
        self._destination.learn_tag(tag, manifest.digest if manifest else None)
        return manifest

    def add_to_fallback_tag(self, subject: Digest, referrers: Sequence[Descriptor]) -> bool:  # noqa: ARG002
        """Leave the list of referrers as it is; a registry may come to keep one by itself."""
        return bool(referrers)
