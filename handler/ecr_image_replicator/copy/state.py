"""The state of source and destination before a copy, read with parallel requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ecr_image_replicator.copy.plan import ReplicationPlan
    from ecr_image_replicator.copy.ports import ImageSource, ReadOnlyDestination
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Manifest

_MAX_THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class CopyState:
    """The digests of source and destination.

    Attributes
    ----------
    pinned
        The source's digest; None when only reading the manifest tells it.
    current
        The manifest of the destination's first tag; None without that tag.
    found
        The digest of each of its tags; None for a tag that does not exist.
    """

    pinned: Digest | None
    current: Manifest | None
    found: Mapping[str, Digest | None]


def read_state(
    source: ImageSource,
    destination: ReadOnlyDestination,
    tags: Sequence[str],
    *,
    stop: Callable[[], None],
) -> CopyState:
    """Read the source's digest and each tag of the destination.

    Parameters
    ----------
    tags
        At least one. The manifest of the first is read, of the others the digest.
    stop
        Called when a read fails and its error is reported, to end the retries of the others.

    Raises
    ------
    ReplicationError
        The source's error if both endpoints fail.
    """
    first, *others = tags
    with ThreadPoolExecutor(min(_MAX_THREADS, 1 + len(tags)), "state") as pool:
        pinned = pool.submit(source.find_digest)
        current = pool.submit(destination.find_manifest, first)
        digests = [pool.submit(destination.find_digest, tag) for tag in others]
        wait([pinned])  # if both endpoints fail, the source's error is reported
        try:
            return _state(tags, pinned.result(), current.result(), [d.result() for d in digests])
        except BaseException:
            stop()
            raise


def check_planned_tags(
    destination: ReadOnlyDestination, state: CopyState, plan: ReplicationPlan
) -> None:
    """Check that the destination will accept the plan's tags, before anything is moved.

    Raises
    ------
    RegistryError
        A tag cannot be moved.
    """
    destination.check_tags({tag: state.found[tag] for tag in plan.tags}, plan.root.digest)
    for tag, manifest in plan.child_tags:
        destination.check_tags({tag: state.found[tag]}, manifest.digest)


def _state(
    tags: Sequence[str],
    pinned: Digest | None,
    current: Manifest | None,
    others: Sequence[Digest | None],
) -> CopyState:
    first = current.digest if current else None
    return CopyState(pinned, current, dict(zip(tags, (first, *others), strict=True)))
