"""The error for an immutable tag that would change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import ImmutableTagError, Setting, Side

if TYPE_CHECKING:
    from ecr_image_replicator.model.digests import Digest

#: The code that ECR rejects an immutable tag with.
TAG_INVALID: Final = "TAG_INVALID"


def immutable_tag_error(name: str, current: Digest | None, content: Digest) -> ImmutableTagError:
    """Return the error for a tag that cannot be moved to other content.

    Parameters
    ----------
    name
        Registry, repository and tag.
    current
        What the tag points at.
    """
    return ImmutableTagError(
        f"cannot push {name}: the tag is immutable and points at {current or 'other content'}, "
        f"not at {content}",
        side=Side.DESTINATION,
        status=400,
        code=TAG_INVALID,
        hint=("Choose a new tag in ", Setting.DESTINATION, ", or make the tag mutable."),
    )
