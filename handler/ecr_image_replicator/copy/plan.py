"""What has to move, in which order; pure, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ecr_image_replicator.model.manifests import ImageIndex, ImageManifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest


@dataclass(frozen=True, slots=True)
class ReplicationPlan:
    """The steps of a copy, each of which needs the ones before it.

    Attributes
    ----------
    blobs
        To be moved or found, each digest once, the largest first.
    present
        Blobs that need no asking: the destination refers to them already.
    levels
        Children's manifests to be pushed by digest, level after level, so that whatever a
        manifest refers to stands in an earlier level.
    root
        What the tags are to point at.
    tags
        Of the root, to be put last of all.
    child_tags
        Of manifests below the root, to be put together with the root's.
    mount_from
        A repository of the destination's registry that holds every blob.
    is_there
        Whether the destination holds the root and all below it already.
    """

    blobs: tuple[Descriptor, ...]
    present: tuple[Descriptor, ...]
    levels: tuple[tuple[Manifest, ...], ...]
    root: Manifest
    tags: tuple[str, ...]
    child_tags: tuple[tuple[str, Manifest], ...] = ()
    mount_from: str | None = None
    is_there: bool = False

    @property
    def puts(self) -> tuple[tuple[str, Manifest], ...]:
        """What is put under which reference in the end; the first brings the root along."""
        root = tuple((tag, self.root) for tag in self.tags)
        if not root and not self.is_there:
            root = ((str(self.root.digest), self.root),)
        return (*root, *self.child_tags)

    def without_tags(self) -> ReplicationPlan:
        """Leave the tags for later: everything is pushed by its digest."""
        return replace(self, tags=(), child_tags=())

    def of_blobs(self, blobs: tuple[Descriptor, ...]) -> ReplicationPlan:
        """Leave all but these blobs for later."""
        return replace(self.without_tags(), blobs=blobs, present=(), levels=(), is_there=True)


def make_plan(
    root: Manifest,
    children: Mapping[Digest, Manifest],
    tags: Sequence[str],
    *,
    child_tags: Sequence[tuple[str, Manifest]] = (),
    known: Iterable[Descriptor] = (),
    mount_from: str | None = None,
) -> ReplicationPlan:
    """Plan the copy of a manifest and all that it refers to.

    Parameters
    ----------
    root
        The image or index.
    children
        Every manifest below an index, at any depth.
    tags
        That do not point at the root yet.
    child_tags
        That do not point at their manifest yet.
    known
        Blobs that the destination is known to hold.
    mount_from
        A repository of the destination's registry that holds every blob.
    """
    levels = _levels(root, children)
    manifests = [manifest for level in levels for manifest in level] + [root]
    blobs = {
        blob.digest: blob
        for manifest in manifests
        if isinstance(manifest, ImageManifest)
        for blob in manifest.blobs
    }
    there = {descriptor.digest for descriptor in known}
    by_size = sorted(blobs.values(), key=lambda blob: (-blob.size_bytes, str(blob.digest)))
    return ReplicationPlan(
        blobs=tuple(blob for blob in by_size if blob.digest not in there),
        present=tuple(blob for blob in by_size if blob.digest in there),
        levels=levels,
        root=root,
        tags=tuple(tags),
        child_tags=tuple(child_tags),
        mount_from=mount_from,
    )


def tag_plan(
    root: Manifest, tags: Sequence[str], child_tags: Sequence[tuple[str, Manifest]] = ()
) -> ReplicationPlan:
    """Plan further tags for content that the destination holds already."""
    return ReplicationPlan(
        blobs=(),
        present=(),
        levels=(),
        root=root,
        tags=tuple(tags),
        child_tags=tuple(child_tags),
        is_there=True,
    )


def _levels(
    root: Manifest, children: Mapping[Digest, Manifest]
) -> tuple[tuple[Manifest, ...], ...]:
    """Sort manifests below the root by height, images first; each once."""
    heights: dict[Digest, int] = {}
    by_height: dict[int, list[Manifest]] = {}

    def height(manifest: Manifest) -> int:
        if not isinstance(manifest, ImageIndex):
            return 0
        # an index may list a child often: each is visited once, however they are nested
        below = dict.fromkeys(d.digest for d in manifest.manifests if d.digest in children)
        for digest in below:
            if digest not in heights:
                heights[digest] = height(children[digest])
                by_height.setdefault(heights[digest], []).append(children[digest])
        return 1 + max((heights[digest] for digest in below), default=-1)

    height(root)
    return tuple(tuple(by_height[level]) for level in sorted(by_height))
