"""Work items: the changed images of one repository pair, as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import ContentError, RequestError
from ecr_image_replicator.mirror.compare import ComparisonStatus, MirrorImage
from ecr_image_replicator.mirror.results import parse_optional_digest
from ecr_image_replicator.mirror.state import Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ecr_image_replicator.mirror.preparation import Preparation

#: An item is the input of a child execution, which has at most 256 KiB.
_MAX_IMAGES: Final = 500
_MAX_BYTES: Final = 200 * 1024
#: Field of an image in an item: none of its destination tags exists.
_NEW: Final = "new"


@dataclass(frozen=True, slots=True)
class WorkItem:
    """The task of one worker and its position.

    Attributes
    ----------
    run
        The run of the item.
    host, number
        The source host ("" for the entry's own), and the item's number among the host's.
    entry
        The entry's position in the mirror.
    images
        All of the item's images.
    not_after_seconds
        The end of the run, in seconds since 1970.
    part
        Number of previous invocations for the item.
    position, tries
        The next image and the number of its previous attempts.
    """

    run: Run
    host: str
    number: int
    entry: int
    images: tuple[MirrorImage, ...]
    not_after_seconds: float
    part: int = 0
    position: int = 0
    tries: int = 0

    def body(self) -> dict[str, Any]:
        """Return the event for invoking a worker."""
        return {
            "Mirror": {
                "Step": "Copy",
                "Run": str(self.run),
                "Host": self.host,
                "Item": self.number,
                "Entry": self.entry,
                "Images": [
                    [
                        each.selector,
                        str(each.digest or ""),
                        list(each.destination_tags),
                        *([_NEW] if each.is_new else []),
                    ]
                    for each in self.images
                ],
                "NotAfter": self.not_after_seconds,
                "Part": self.part,
                "Next": self.position,
                "Tries": self.tries,
            }
        }

    def after(self, position: int, tries: int) -> WorkItem:
        """Return the item for the next invocation."""
        return replace(self, part=self.part + 1, position=position, tries=tries)

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> WorkItem:
        """Parse the fields of an event.

        Raises
        ------
        RequestError
            The fields are invalid.
        """
        try:
            images = tuple(
                MirrorImage(
                    str(selector),
                    tuple(map(str, tags)),
                    parse_optional_digest(digest),
                    is_new=marks == [_NEW],
                )
                for selector, digest, tags, *marks in fields["Images"]
            )
            item = cls(
                run=Run.parse(fields["Run"]),
                host=str(fields.get("Host", "")),
                number=_count(fields.get("Item", fields["Entry"])),
                entry=_count(fields["Entry"]),
                images=images,
                not_after_seconds=float(fields["NotAfter"]),
                part=_count(fields.get("Part", 0)),
                position=_count(fields.get("Next", 0)),
                tries=_count(fields.get("Tries", 0)),
            )
        except (KeyError, TypeError, ValueError, ContentError) as error:
            raise RequestError("invalid Mirror: it is not a work item") from error
        if not all(each.destination_tags for each in item.images):
            raise RequestError("invalid Mirror: an image has no destination tag")
        return item


def make_items(
    preparation: Preparation, run: Run, not_after_seconds: float
) -> dict[str, list[WorkItem]]:
    """Divide the images to copy into items, by source host."""
    items: dict[str, list[WorkItem]] = {}
    for prepared in preparation.entries:
        compared = prepared.with_status(ComparisonStatus.CHANGED, ComparisonStatus.UNCOMPARED)
        host = prepared.entry.source_host
        for images in _divide([each.image for each in compared]):
            own = items.setdefault(host, [])
            item = WorkItem(run, host, len(own), prepared.index, images, not_after_seconds)
            own.append(item)
    return items


def whole_seconds(seconds: float) -> int:
    """Round a wait up to whole seconds."""
    return max(0, math.ceil(seconds))


def _divide(images: Sequence[MirrorImage]) -> Iterator[tuple[MirrorImage, ...]]:
    """Split a list of images at the size limit of items."""
    current: list[MirrorImage] = []
    size_bytes = 0
    for image in images:
        own_bytes = len(json.dumps([image.selector, image.destination_tags])) + 90
        if current and (len(current) >= _MAX_IMAGES or size_bytes + own_bytes > _MAX_BYTES):
            yield tuple(current)
            current, size_bytes = [], 0
        current.append(image)
        size_bytes += own_bytes
    if current:
        yield tuple(current)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError
    return value
