"""The plan of a copy: what is copied, and in which order; pure, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ecr_image_replicator.model.manifests import ImageIndex, ImageManifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest


class ReplicationPlan(NamedTuple):
    """The steps of a copy, in order.

    Attributes
    ----------
    blobs
        The blobs to copy, each digest once, the largest first.
    present
        Blobs that the destination is known to have.
    levels
        Manifests below the root, pushed by digest level after level: a manifest refers to earlier
        levels only.
    root
        The manifest that the tags will point at.
    tags
        The tags of the root, put last.
    child_tags
        The tags of manifests below the root, put together with those of the root.
    mount_from
        A repository of the destination's registry that has every blob.
    is_there
        Whether the destination has the root and everything below it.
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
    def final_pushes(self) -> tuple[tuple[str, Manifest], ...]:
        """The references to put at the end; the first pushes the root."""
        root = tuple((tag, self.root) for tag in self.tags)
        if not root and not self.is_there:
            root = ((str(self.root.digest), self.root),)
        return (*root, *self.child_tags)

    def without_tags(self) -> ReplicationPlan:
        """Return the plan without tags: everything is pushed by its digest."""
        return self._replace(tags=(), child_tags=())

    def of_blobs(self, blobs: tuple[Descriptor, ...]) -> ReplicationPlan:
        """Return the plan for these blobs only."""
        return self.without_tags()._replace(blobs=blobs, present=(), levels=(), is_there=True)


def make_plan(
    root: Manifest,
    children: Mapping[Digest, Manifest],
    tags: Sequence[str],
    *,
    child_tags: Sequence[tuple[str, Manifest]] = (),
    known: Iterable[Descriptor] = (),
    mount_from: str | None = None,
) -> ReplicationPlan:
    """Plan the copy of a manifest and everything that it refers to.

    Parameters
    ----------
    root
        The image or index.
    children
        Every manifest below an index, at any depth.
    tags
        The tags that do not point at the root yet.
    child_tags
        The tags that do not point at their manifest yet.
    known
        Blobs that the destination is known to have.
    mount_from
        A repository of the destination's registry that has every blob.
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
    """Plan tags for content that the destination has already."""
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
    """Return the manifests below the root by height, images first, each once."""
    heights: dict[Digest, int] = {}
    by_height: dict[int, list[Manifest]] = {}

    def height(manifest: Manifest) -> int:
        if not isinstance(manifest, ImageIndex):
            return 0
        # an index may list a child several times: visit each child once
        below = dict.fromkeys(d.digest for d in manifest.manifests if d.digest in children)
        for digest in below:
            if digest not in heights:
                heights[digest] = height(children[digest])
                by_height.setdefault(heights[digest], []).append(children[digest])
        return 1 + max((heights[digest] for digest in below), default=-1)

    height(root)
    return tuple(tuple(by_height[level]) for level in sorted(by_height))
