"""The error for an immutable tag that would change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import ImmutableTagError, Setting, Side

if TYPE_CHECKING:
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.references import ImageReference

#: The code that ECR rejects an immutable tag with.
TAG_INVALID: Final = "TAG_INVALID"


def immutable_tag_error(
    destination: ImageReference, tag: str, current: Digest | None, content: Digest
) -> ImmutableTagError:
    """Return the error for a tag that cannot be moved to other content.

    Parameters
    ----------
    destination
        The request's destination.
    tag
        Its own tag, or another one of the same content or of a platform.
    current
        What the tag points at.
    """
    is_own = tag == destination.tag
    return ImmutableTagError(
        f"cannot push {destination.name}:{tag}: the tag is immutable and points at "
        f"{current or 'other content'}, not at {content}",
        side=Side.DESTINATION,
        status=400,
        code=TAG_INVALID,
        hint=(
            "Choose a new tag",
            *((" in ", Setting.DESTINATION) if is_own else ()),
            ", or make the tag mutable.",
        ),
    )
