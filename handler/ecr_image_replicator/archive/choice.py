"""Which of an archive's images a reference means; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ecr_image_replicator.errors import ImageNotFoundError, InvalidReferenceError
from ecr_image_replicator.model.references import parse_image_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecr_image_replicator.model.archive_references import ArchiveReference

_Image = TypeVar("_Image")
_SHOWN_IMAGES: Final = 12


@dataclass(frozen=True, slots=True)
class Candidate(Generic[_Image]):
    """An image in an archive, with the names that it has there."""

    names: tuple[str, ...]
    image: _Image


def choose(candidates: Sequence[Candidate[_Image]], reference: ArchiveReference) -> _Image:
    """Find the image that a reference means.

    A name fits as it stands, or as Docker would complete it: ``alpine`` is
    ``docker.io/library/alpine:latest``.

    Raises
    ------
    ImageNotFoundError
        There is no such image, or several; the sentence lists what there is.
    """
    fitting = find_fitting(candidates, reference.selector)
    if len(fitting) == 1:
        return fitting[0].image
    count = len(candidates)
    there = f"it holds {count} image{'s' if count != 1 else ''}: {_listed(candidates)}"
    if reference.selector is None:
        raise ImageNotFoundError(
            f"{reference.location} does not say which image of the archive is meant; {there}; add "
            ":repository:tag, or :@ and the position"
        )
    found = "more than one image" if fitting else "no image"
    raise ImageNotFoundError(f"{reference} names {found} of the archive; {there}")


def find_fitting(
    candidates: Sequence[Candidate[_Image]], selector: str | int | None
) -> Sequence[Candidate[_Image]]:
    """Give the images that a selector fits."""
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


def _listed(candidates: Sequence[Candidate[_Image]]) -> str:
    shown = [
        f"@{position} {', '.join(name[:120] for name in each.names[:3]) or '(without a name)'}"
        for position, each in enumerate(candidates[:_SHOWN_IMAGES])
    ]
    return "; ".join([*shown, *["…"] * (len(candidates) > _SHOWN_IMAGES)])
