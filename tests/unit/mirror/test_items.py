"""Work items as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ecr_image_replicator.mirror.compare import ComparedImage, ComparisonStatus, MirrorImage
from ecr_image_replicator.mirror.items import WorkItem, make_items
from ecr_image_replicator.mirror.preparation import Preparation, PreparedEntry
from ecr_image_replicator.mirror.state import Run
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.request.mirror_parsing import parse_mirror

ITEM = WorkItem(
    Run("0" * 32, "first"),
    "docker.io",
    number=3,
    entry=1,
    images=(MirrorImage("1.0", ("1.0",), is_new=True), MirrorImage("1.1", ("1.1", "stable"))),
    not_after_seconds=1000.5,
)


def test_a_serialized_item_is_parsed_unchanged() -> None:
    assert WorkItem.parse(ITEM.body()["Mirror"]) == ITEM


def test_an_item_without_new_markers_has_no_new_images() -> None:
    fields = ITEM.body()["Mirror"]
    fields["Images"] = [image[:3] for image in fields["Images"]]

    assert not any(image.is_new for image in WorkItem.parse(fields).images)


def _prepare(tags: Sequence[str], further: Sequence[str] = ()) -> Preparation:
    (entry,) = parse_mirror(
        {"Repositories": [{"SrcRepository": "r.example/a", "DestRepository": "d.example/a"}]}
    ).entries
    digest = Digest.parse("sha256:" + "a" * 64)
    images = [MirrorImage(tag, (tag, *further), digest, is_new=True) for tag in tags]
    compared = tuple(ComparedImage(image, ComparisonStatus.CHANGED) for image in images)
    return Preparation((PreparedEntry(0, entry, images=compared),))


def test_an_item_has_at_most_500_images() -> None:
    items = make_items(_prepare([f"1.{number}" for number in range(1200)]), ITEM.run, 1000)

    assert [len(item.images) for item in items["r.example"]] == [500, 500, 200]


def test_an_item_fits_into_the_input_of_an_execution() -> None:
    further = ["x" * 128] * 100
    items = make_items(_prepare([f"1.{number}" for number in range(100)], further), ITEM.run, 1000)

    bodies = [json.dumps(item.body()) for item in items["r.example"]]
    assert sum(len(item.images) for item in items["r.example"]) == 100
    assert max(map(len, bodies)) <= 256 * 1024
    assert len(bodies) < 10


def test_different_hosts_have_different_keys() -> None:
    hosts = ("a.example:5000", "a.example-5000", "a-example.5000", "a.example.5000")
    assert len({ITEM.run.items(host) for host in hosts}) == len(hosts)
    assert len({ITEM.run.result(host, 0, 0) for host in hosts}) == len(hosts)
