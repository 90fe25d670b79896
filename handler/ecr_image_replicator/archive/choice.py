"""Choosing the image of an archive that a reference means; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ecr_image_replicator.errors import ImageNotFoundError, InvalidReferenceError, Setting
from ecr_image_replicator.model.references import parse_image_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecr_image_replicator.model.archive_references import ArchiveReference

_Image = TypeVar("_Image")
_MAX_LISTED: Final = 12


@dataclass(frozen=True, slots=True)
class Candidate(Generic[_Image]):
    """An image in an archive, with its names there."""

    names: tuple[str, ...]
    image: _Image


def choose(candidates: Sequence[Candidate[_Image]], reference: ArchiveReference) -> _Image:
    """Return the image that a reference means.

    A name matches as it is, or as Docker completes it: ``alpine`` is
    ``docker.io/library/alpine:latest``.

    Raises
    ------
    ImageNotFoundError
        No image matches, or several do; the message lists the images.
    """
    fitting = find_fitting(candidates, reference.selector)
    if len(fitting) == 1:
        return fitting[0].image
    if not fitting:
        found = "image not found in the archive"
    elif reference.selector is None:
        found = "image not found: the archive holds several images and the reference names none"
    else:
        found = "image not found: several images of the archive have this name"
    raise ImageNotFoundError(
        f"cannot read {reference}: {found}; it has {_list(candidates)}",
        hint=("Add :repository:tag or :@N (the image's position) to ", Setting.SOURCE, "."),
    )


def find_fitting(
    candidates: Sequence[Candidate[_Image]], selector: str | int | None
) -> Sequence[Candidate[_Image]]:
    """Return the images that match a selector."""
    if selector is None:
        return candidates
    if isinstance(selector, int):
        return candidates[selector : selector + 1]
    exact = [each for each in candidates if selector in each.names]
    complete = _complete(selector)
    return exact or [
        each for each in candidates if complete and complete in map(_complete, each.names)
    ]


def _complete(name: str) -> str:
    try:
        return str(parse_image_reference(name))
    except InvalidReferenceError:
        return ""


def _list(candidates: Sequence[Candidate[_Image]]) -> str:
    count = len(candidates)
    images = [
        f"@{position} {', '.join(name[:120] for name in each.names[:3]) or '(no name)'}"
        for position, each in enumerate(candidates[:_MAX_LISTED])
    ]
    listed = "; ".join([*images, *["…"] * (count > _MAX_LISTED)])
    return f"{count} image{'s' if count != 1 else ''}: {listed}"
