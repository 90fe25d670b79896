"""Work items as JSON."""

from __future__ import annotations

from ecr_image_replicator.mirror.compare import MirrorImage
from ecr_image_replicator.mirror.items import WorkItem
from ecr_image_replicator.mirror.state import Run

ITEM = WorkItem(
    Run("0" * 32, "first"),
    "docker.io",
    number=3,
    entry=1,
    images=(MirrorImage("1.0", ("1.0",), is_new=True), MirrorImage("1.1", ("1.1", "stable"))),
    not_after_seconds=1000.5,
)


def test_an_item_is_parsed_as_it_was_written() -> None:
    assert WorkItem.parse(ITEM.body()["Mirror"]) == ITEM


def test_an_item_without_marks_has_no_new_image() -> None:
    fields = ITEM.body()["Mirror"]
    fields["Images"] = [image[:3] for image in fields["Images"]]

    assert not any(image.is_new for image in WorkItem.parse(fields).images)
