from __future__ import annotations

import pytest
from tests.unit.builders import (
    FakeDestination,
    FakeSource,
    digest_of,
    image,
    index,
)
from tests.unit.transfers import DENIED, LAYERS, new_plan, new_transfer

from ecr_image_replicator.copy.plan import make_plan, tag_plan
from ecr_image_replicator.copy.ports import BlobOutcome
from ecr_image_replicator.copy.results import TransferReport, count_results
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import (
    DeniedError,
    DigestMismatchError,
    StoppedError,
    TransientError,
    UnavailableError,
)
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import Descriptor, Manifest


def test_each_blob_is_copied_once_and_the_tag_is_pushed_last() -> None:
    source, destination = FakeSource([*LAYERS, b"{}"]), FakeDestination()
    plan = new_plan("latest")
    report = count_results(new_transfer(source, destination).run(plan))
    blobs = sorted(str(digest_of(content)) for content in (b"55555", b"333", b"{}", b"1"))
    assert sorted(destination.events_of("start")) == blobs
    assert sorted(destination.events_of("blob")) == blobs
    assert destination.events[-1] == ("manifest", "latest")
    assert destination.events_of("manifest") == ["latest"]
    assert destination.stored[plan.root.digest] == plan.root.content
    assert report == TransferReport(blobs_copied=4, bytes_copied=11)


def test_blobs_are_pushed_before_children_and_children_before_the_root() -> None:
    first, second = image([b"1"]), image([b"2"])
    inner = index([first])
    root = index([inner, second])
    children: dict[Digest, Manifest] = {each.digest: each for each in (first, second, inner)}
    destination = FakeDestination()
    new_transfer(FakeSource([b"1", b"2", b"{}"]), destination, streams=4).run(
        make_plan(root, children, ["a", "b"])
    )
    kinds = [event for event, _ in destination.events if event != "start"]
    assert kinds == ["blob"] * 3 + ["manifest"] * 5
    pushed = destination.events_of("manifest")
    assert set(pushed[:2]) == {str(first.digest), str(second.digest)}
    assert pushed[2:] == [str(inner.digest), "a", "b"]


@pytest.mark.parametrize("tags", [("1",), ("1", "2", "3")])
def test_each_tag_pushes_the_root_with_one_request(tags: tuple[str, ...]) -> None:
    destination = FakeDestination()
    root = image()
    plan = make_plan(root, {}, tags, known=root.blobs)
    new_transfer(FakeSource(), destination).run(plan)
    pushed = destination.events_of("manifest")
    assert pushed[0] == tags[0]
    assert sorted(pushed) == sorted(tags)


def test_a_root_without_tags_is_pushed_by_its_digest() -> None:
    destination = FakeDestination()
    root = image()
    plan = make_plan(root, {}, (), known=root.blobs)
    new_transfer(FakeSource(), destination).run(plan)
    assert destination.events_of("manifest") == [str(plan.root.digest)]


def test_existing_content_only_gets_new_tags() -> None:
    destination = FakeDestination()
    child = image()
    plan = tag_plan(index([child]), ["1", "2"], [("arm", child)])
    new_transfer(FakeSource(), destination).run(plan)
    assert sorted(destination.events) == [("manifest", tag) for tag in ("1", "2", "arm")]
    assert destination.stored.keys() == {plan.root.digest, child.digest}


def test_tags_of_children_are_pushed_with_those_of_the_root() -> None:
    first, second = image([b"1"]), image([b"2"])
    root = index([first, second])
    destination = FakeDestination()
    plan = make_plan(
        root,
        {first.digest: first, second.digest: second},
        ["1"],
        child_tags=[("a", first), ("b", second)],
    )
    new_transfer(FakeSource([b"1", b"2", b"{}"]), destination).run(plan)
    pushed = destination.events_of("manifest")
    assert set(pushed[:2]) == {str(first.digest), str(second.digest)}
    assert set(pushed[2:]) == {"1", "a", "b"}


def test_a_plan_without_its_tags_pushes_the_root_by_digest() -> None:
    child = image([b"1"])
    root = index([child])
    plan = make_plan(root, {child.digest: child}, ["1"], child_tags=[("a", child)])
    destination = FakeDestination()
    new_transfer(FakeSource([b"1", b"{}"]), destination).run(plan.without_tags())
    assert destination.events_of("manifest") == [str(child.digest), str(root.digest)]


def test_existing_or_mounted_blobs_are_not_read() -> None:
    destination = FakeDestination(
        existing=[digest_of(b"1")],
        outcomes={
            digest_of(b"333"): BlobOutcome.MOUNTED,
            digest_of(b"{}"): BlobOutcome.SKIPPED,
        },
    )
    source = FakeSource([b"55555"])
    plan = make_plan(image(LAYERS), {}, ["1"], mount_from="team/base")
    report = count_results(new_transfer(source, destination).run(plan))
    assert source.opened == [digest_of(b"55555")]
    assert str(digest_of(b"1")) not in destination.events_of("start")
    assert set(destination.mount_sources) == {"team/base"}
    assert report == TransferReport(1, 1, 2, 5, bytes_skipped=3)


def test_known_blobs_of_the_destination_are_counted_and_not_copied() -> None:
    root = image(LAYERS)
    destination = FakeDestination()
    report = count_results(
        new_transfer(FakeSource(), destination).run(make_plan(root, {}, ["1"], known=root.blobs))
    )
    assert destination.events == [("manifest", "1")]
    assert report == TransferReport(blobs_skipped=4, bytes_skipped=11)


def test_a_failed_blob_cancels_its_upload_and_stops_the_copy() -> None:
    destination = FakeDestination(failures={str(digest_of(b"55555")): [DENIED]})
    source = FakeSource([*LAYERS, b"{}"])
    with pytest.raises(DeniedError):
        new_transfer(source, destination).run(new_plan("1", "2"))
    failed = str(digest_of(b"55555"))
    # other blobs may start between
    assert destination.events.index(("start", failed)) < destination.events.index(
        ("cancel", failed)
    )
    assert destination.events_of("manifest") == []


def test_a_digest_mismatch_cancels_the_upload_and_is_not_retried() -> None:
    source, destination = FakeSource([b"55555", b"{}"]), FakeDestination()
    source.content[digest_of(b"55555")] = b"55554"
    with pytest.raises(DigestMismatchError):
        new_transfer(source, destination).run(new_plan("1", layers=[b"55555"]))
    assert source.opened.count(digest_of(b"55555")) == 1
    # the config may be cancelled, too
    assert destination.events_of("cancel").count(str(digest_of(b"55555"))) == 1
    assert str(digest_of(b"55555")) not in destination.events_of("blob")
    assert destination.events_of("manifest") == []


def test_an_upload_is_cancelled_when_its_source_cannot_be_opened() -> None:
    destination = FakeDestination()
    with pytest.raises(KeyError):
        new_transfer(FakeSource([b"{}"]), destination).run(new_plan("1", layers=[b"55555"]))
    # the config may be cancelled, too
    assert destination.events_of("cancel").count(str(digest_of(b"55555"))) == 1


def test_a_rejected_child_manifest_leaves_all_tags_unchanged() -> None:
    child = image([b"1"])
    root = index([child])
    destination = FakeDestination(failures={str(child.digest): [DENIED]})
    with pytest.raises(DeniedError):
        new_transfer(FakeSource([b"1", b"{}"]), destination).run(
            make_plan(root, {child.digest: child}, ["1", "2"])
        )
    assert destination.events_of("manifest") == []


def test_an_interrupted_blob_restarts_with_a_new_upload() -> None:
    name = str(digest_of(b"55555"))
    errors = [TransientError("connection reset"), TransientError("connection reset")]
    destination = FakeDestination(failures={name: errors})
    source = FakeSource([b"55555", b"{}"])
    report = count_results(new_transfer(source, destination).run(new_plan("1", layers=[b"55555"])))
    assert [each for each in destination.events if each[1] == name] == [
        ("start", name),
        ("cancel", name),
        ("start", name),
        ("cancel", name),
        ("start", name),
        ("blob", name),
    ]
    assert report.bytes_copied == 7


def test_a_repeatedly_interrupted_blob_is_an_error() -> None:
    name = str(digest_of(b"55555"))
    destination = FakeDestination(failures={name: [TransientError("connection reset")] * 9})
    with pytest.raises(UnavailableError, match="connection reset after 3 attempts"):
        new_transfer(FakeSource([b"55555", b"{}"]), destination).run(
            new_plan("1", layers=[b"55555"])
        )
    assert destination.events_of("start").count(name) == 3
    assert destination.events_of("manifest") == []


def test_nothing_starts_after_a_stop() -> None:
    deadline = Deadline(100)
    deadline.stop()
    source, destination = FakeSource([*LAYERS, b"{}"]), FakeDestination()
    with pytest.raises(StoppedError):
        new_transfer(source, destination, deadline=deadline).run(new_plan("1"))
    assert destination.events == []


def test_a_stop_interrupts_a_blob_in_progress() -> None:
    deadline, layer = Deadline(100), b"55555"

    class StoppingDestination(FakeDestination):
        def start_body(self, descriptor: Descriptor) -> None:
            super().start_body(descriptor)
            if descriptor.digest == digest_of(layer):
                deadline.stop()

    destination = StoppingDestination()
    with pytest.raises(StoppedError):
        new_transfer(FakeSource([layer, b"{}"]), destination, deadline=deadline).run(
            new_plan("1", layers=[layer])
        )
    # the config, in parallel, is copied, cancelled or not started
    assert destination.events_of("cancel").count(str(digest_of(layer))) == 1
    assert destination.events_of("manifest") == []
