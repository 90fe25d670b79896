"""A dry run: the copy with a writer that records changes instead of making them.

The writer accesses the destination through `ReadOnlyDestination` only, so it cannot write.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from ecr_image_replicator.copy.ports import BlobOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ecr_image_replicator.copy.ports import ReadOnlyDestination, ReferrersList, ReferrerStore
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest


@dataclass(frozen=True, slots=True)
class TagMove:
    """A tag that a real run would put.

    Attributes
    ----------
    before
        The digest that it points at now; None when it does not exist.
    after
        The digest that it would point at; None when the image would still have to be built.
    """

    tag: str
    before: Digest | None
    after: Digest | None


@dataclass(frozen=True, slots=True)
class PlannedChanges:
    """The changes that a real run would make at the destination.

    Attributes
    ----------
    makes_repository
        Whether the repository does not exist and would be created.
    copied, mounted
        Blobs, the largest first; for a layer whose blob would still have to be made, the stored
        layer by its diff_id.
    knows_sizes
        Whether `copied` is complete; if not, only reading the whole archive would tell.
    manifests
        The manifests that would be pushed, in order; None for one that would have to be built.
    tags
        The tags that would be put, in order.
    """

    makes_repository: bool = False
    copied: tuple[Descriptor, ...] = ()
    mounted: tuple[Descriptor, ...] = ()
    knows_sizes: bool = True
    manifests: tuple[Digest | None, ...] = ()
    tags: tuple[TagMove, ...] = ()


class DryRunWriter:
    """An `ImageWriter` that records what would be written.

    Parameters
    ----------
    destination
        Returns which blobs exist.
    mounts
        Whether blobs would be mounted from the source's repository.
    """

    def __init__(self, destination: ReadOnlyDestination, *, mounts: bool) -> None:
        self._destination = destination
        self._mounts = mounts
        self._lock = threading.Lock()
        self._blobs: dict[Digest, tuple[Descriptor, BlobOutcome]] = {}
        self._manifests: dict[Digest, None] = {}
        self._tags: dict[str, Digest] = {}
        #: The digests of cosign's tags, which `DryRunReferrers` has read.
        self.found_tags: dict[str, Digest | None] = {}

    def planned_changes(self, found: Mapping[str, Digest | None]) -> PlannedChanges:
        """Return the recorded changes.

        Parameters
        ----------
        found
            The digest that each tag points at now.

        Raises
        ------
        RegistryError
            The repository does not exist and would not be created.
        """
        before = {**self.found_tags, **found}
        is_change = bool(self._blobs or self._manifests)
        blobs = sorted(self._blobs.values(), key=lambda each: -each[0].size_bytes)
        return PlannedChanges(
            makes_repository=is_change and self._destination.repository_missing(),
            copied=tuple(blob for blob, how in blobs if how is BlobOutcome.COPIED),
            mounted=tuple(blob for blob, how in blobs if how is BlobOutcome.MOUNTED),
            manifests=tuple(self._manifests),
            tags=tuple(TagMove(tag, before.get(tag), after) for tag, after in self._tags.items()),
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
            The tags that would be put, and the digest that each tag points at now.
        """
        return PlannedChanges(
            makes_repository=self._destination.repository_missing(),
            copied=tuple(missing or ()),
            knows_sizes=missing is not None,
            manifests=(None,),
            tags=tuple(TagMove(tag, found[tag], None) for tag in tags),
        )

    def start_upload(self, descriptor: Descriptor, *, mount_from: str | None) -> BlobOutcome:
        """Return what a real run would do with a blob; each is recorded once."""
        with self._lock:
            if descriptor.digest in self._blobs:
                return BlobOutcome.SKIPPED
        destination = self._destination
        if destination.needs_existence_check and destination.has_blob(descriptor.digest):
            return BlobOutcome.SKIPPED
        outcome = BlobOutcome.MOUNTED if self._mounts and mount_from else BlobOutcome.COPIED
        with self._lock:
            self._blobs[descriptor.digest] = (descriptor, outcome)
        return outcome

    def open_upload(self, descriptor: Descriptor) -> NoReturn:
        """Raise: a blob is pushed again only after a manifest was rejected."""
        raise AssertionError(descriptor)

    def start_streamed_upload(self) -> NoReturn:
        """Raise: a dry run builds no image."""
        raise AssertionError

    def push_manifest(self, manifest: Manifest, reference: str) -> None:
        """Record a manifest, and its tag unless the reference is its digest."""
        with self._lock:
            self._manifests[manifest.digest] = None
            if reference != str(manifest.digest):
                self._tags[reference] = manifest.digest


class DryRunReferrers:
    """A `ReferrerStore` that changes nothing.

    Parameters
    ----------
    store
        The destination's referrers.
    writer
        Gets the digests of the tags that are read.
    """

    def __init__(self, store: ReferrerStore, writer: DryRunWriter) -> None:
        self._store = store
        self._writer = writer

    def list_referrers(self, subject: Digest, artifact_type: str = "") -> ReferrersList:
        """List the referrers of a manifest."""
        return self._store.list_referrers(subject, artifact_type)

    def find_tagged(self, tag: str) -> Manifest | None:
        """Read the manifest of a tag."""
        manifest = self._store.find_tagged(tag)
        self._writer.found_tags[tag] = manifest.digest if manifest else None
        return manifest

    def add_to_fallback_tag(self, subject: Digest, referrers: Sequence[Descriptor]) -> bool:  # noqa: ARG002 - the port's
        """Return whether there is anything to add; the list is not changed."""
        return bool(referrers)
