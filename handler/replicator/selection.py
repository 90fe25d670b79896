"""Which of an index's images are meant; pure, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from replicator.errors import PlatformNotFoundError

if TYPE_CHECKING:
    from replicator.manifests import Descriptor, ImageIndex
    from replicator.platforms import Platform


def choose_child(index: ImageIndex, wanted: Platform, origin: str) -> Descriptor:
    """Find the image of a platform in an index; the first that fits, as the specification says.

    Parameters
    ----------
    wanted
        Without a variant, an image of that architecture without one is preferred.
    origin
        The reference, for the error's sentence.

    Raises
    ------
    PlatformNotFoundError
        The sentence lists the platforms that there are.
    """
    exact = [child for child in index.manifests if _fits(child.platform, wanted, exactly=True)]
    loose = [child for child in index.manifests if _fits(child.platform, wanted, exactly=False)]
    if exact or loose:
        return (exact or loose)[0]
    there = ", ".join(
        dict.fromkeys(
            str(child.platform)
            for child in index.manifests
            if child.platform is not None and child.platform.os != "unknown"
        )
    )
    raise PlatformNotFoundError(
        f"{origin} has no image for {wanted}; it has {there or 'no platforms at all'}"
    )


def _fits(platform: Platform | None, wanted: Platform, *, exactly: bool) -> bool:
    if platform is None or (platform.os, platform.architecture) != (wanted.os, wanted.architecture):
        return False
    return platform.variant == wanted.variant if exactly else not wanted.variant
