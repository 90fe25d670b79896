"""What both sides have before anything is done, asked all at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from ecr_image_replicator.copy.parallel import do_each

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ecr_image_replicator.copy.ports import ImageDestination, ImageSource
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Manifest

_MOST_THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class CopyState:
    """What is where.

    Attributes
    ----------
    pinned
        The source's digest; None when the source does not say it for a HEAD.
    current
        What the destination's first tag points at.
    found
        What each of its tags points at.
    """

    pinned: Digest | None
    current: Manifest | None
    found: Mapping[str, Digest | None]


def read_state(
    source: ImageSource,
    destination: ImageDestination,
    tags: Sequence[str],
    *,
    stop: Callable[[], None],
) -> CopyState:
    """Ask for the source's digest and for each tag of the destination.

    Parameters
    ----------
    tags
        At least one; of the first the manifest is read, of the others the digest.
    stop
        Called at the first failure, so that nobody waits for the other side's attempts.

    Raises
    ------
    ReplicationError
        The first thing that failed.
    """
    first, *others = tags
    questions: list[Callable[[], Any]] = [
        source.find_digest,
        partial(destination.find_manifest, first),
        *(partial(destination.find_digest, tag) for tag in others),
    ]
    with ThreadPoolExecutor(min(_MOST_THREADS, len(questions)), "state") as pool:
        answers = do_each(pool, lambda ask: ask(), questions, stop=stop)
    pinned, current, *digests = answers
    manifest = cast("Manifest | None", current)
    own = manifest.digest if manifest else None
    return CopyState(pinned, manifest, dict(zip(tags, (own, *digests), strict=True)))
