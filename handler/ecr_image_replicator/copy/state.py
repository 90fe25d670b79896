"""The state of source and destination before a copy, read with parallel requests."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

from ecr_image_replicator.errors import InvalidManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from ecr_image_replicator.copy.plan import ReplicationPlan
    from ecr_image_replicator.copy.ports import ImageSource, ReadOnlyDestination
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Manifest

_LOGGER: Final = logging.getLogger(__name__)
_MAX_THREADS: Final = 8


class CopyState(NamedTuple):
    """The digests of source and destination.

    Attributes
    ----------
    pinned
        The source's digest; None when only reading the manifest tells it.
    current
        The manifest of the destination's first tag; None without that tag, and if it is not a
        manifest of a supported kind.
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
    absent_tags: Collection[str] = (),
    stop: Callable[[], None],
) -> CopyState:
    """Read the source's digest and each tag of the destination.

    Parameters
    ----------
    tags
        At least one. The manifest of the first is read, of the others the digest.
    absent_tags
        Tags that are known to be absent at the destination, which are not read.
    stop
        Called when a read fails and its error is reported, to end the retries of the others.

    Raises
    ------
    ReplicationError
        The source's error if both endpoints fail.
    """
    first, *others = tags
    with ThreadPoolExecutor(min(_MAX_THREADS, len(tags)), "state") as pool:
        is_absent = first in absent_tags
        current = None if is_absent else pool.submit(_read_tag, destination, first)
        digests = {
            tag: pool.submit(destination.find_digest, tag)
            for tag in others
            if tag not in absent_tags
        }
        try:
            # in this thread, while the others read: if both endpoints fail, this error is reported
            digest = source.find_digest()
            manifest, found_digest = current.result() if current else (None, None)
            found = {first: found_digest}
            for tag in others:
                found[tag] = digests[tag].result() if tag in digests else None
            return CopyState(digest, manifest, found)
        except BaseException:
            stop()
            raise


def _read_tag(destination: ReadOnlyDestination, tag: str) -> tuple[Manifest | None, Digest | None]:
    """Return a tag's manifest and digest; other content, such as schema 1, has no manifest."""
    try:
        manifest = destination.find_manifest(tag)
    except InvalidManifestError as error:
        _LOGGER.warning("the destination's tag has no supported manifest: %s", error)
        return None, destination.find_digest(tag)
    return manifest, manifest.digest if manifest else None


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
