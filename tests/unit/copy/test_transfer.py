from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from tests.unit.builders import (
    FakeClock,
    FakeDestination,
    FakeSource,
    FakeUpload,
    digest_of,
    image,
    index,
)

from ecr_image_replicator.copy.plan import ReplicationPlan, make_plan, tag_plan
from ecr_image_replicator.copy.ports import BlobOutcome
from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.copy.results import TransferReport, count_results
from ecr_image_replicator.copy.transfer import Transfer
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import (
    DeniedError,
    DigestMismatchError,
    Side,
    StoppedError,
    TransientError,
)
from ecr_image_replicator.model.digests import Digest, VerifiedStream
from ecr_image_replicator.model.manifests import Descriptor, Manifest
from ecr_image_replicator.retries import Backoff, RetryPolicy

LAYERS = (b"333", b"1", b"55555")
DENIED = DeniedError("no", side=Side.DESTINATION)


def _transfer(
    source: FakeSource,
    destination: FakeDestination,
    *,
    deadline: Deadline | None = None,
    attempts: int = 3,
    streams: int = 1,
    buffer_bytes: int = 4,
) -> Transfer:
    clock = FakeClock()
    deadline = deadline or Deadline(100, clock=clock, wait=clock.wait)
    return Transfer(
        source,
        destination,
        destination,
        deadline=deadline,
        backoff=Backoff(RetryPolicy(attempts), deadline, draw=lambda: 0.5),
        progress=LoggedProgress(),
        streams=streams,
        buffer_bytes=buffer_bytes,
    )


def _plan(*tags: str, layers: Sequence[bytes] = LAYERS) -> ReplicationPlan:
    return make_plan(image(layers), {}, tags)


def test_each_blob_moves_once_and_the_tag_comes_last() -> None:
    source, destination = FakeSource([*LAYERS, b"{}"]), FakeDestination()
    plan = _plan("latest")
    report = count_results(_transfer(source, destination).run(plan))
    blobs = sorted(str(digest_of(content)) for content in (b"55555", b"333", b"{}", b"1"))
    assert sorted(destination.happened("start")) == blobs
    assert sorted(destination.happened("blob")) == blobs
    assert destination.events[-1] == ("manifest", "latest")
    assert destination.happened("manifest") == ["latest"]
    assert destination.stored[plan.root.digest] == plan.root.content
    assert report == TransferReport(blobs_copied=4, bytes_copied=11)


def test_children_follow_the_blobs_and_the_root_follows_the_children() -> None:
    first, second = image([b"1"]), image([b"2"])
    inner = index([first])
    root = index([inner, second])
    children: dict[Digest, Manifest] = {each.digest: each for each in (first, second, inner)}
    destination = FakeDestination()
    _transfer(FakeSource([b"1", b"2", b"{}"]), destination, streams=4).run(
        make_plan(root, children, ["a", "b"])
    )
    kinds = [event for event, _ in destination.events if event != "start"]
    assert kinds == ["blob"] * 3 + ["manifest"] * 5
    pushed = destination.happened("manifest")
    assert set(pushed[:2]) == {str(first.digest), str(second.digest)}
    assert pushed[2:] == [str(inner.digest), "a", "b"]


@pytest.mark.parametrize("tags", [("1",), ("1", "2", "3")])
def test_every_tag_is_one_request_and_brings_the_root_along(tags: tuple[str, ...]) -> None:
    destination = FakeDestination()
    root = image()
    plan = make_plan(root, {}, tags, known=root.blobs)
    _transfer(FakeSource(), destination).run(plan)
    pushed = destination.happened("manifest")
    assert pushed[0] == tags[0]
    assert sorted(pushed) == sorted(tags)


def test_a_root_without_tags_is_pushed_by_its_digest() -> None:
    destination = FakeDestination()
    root = image()
    plan = make_plan(root, {}, (), known=root.blobs)
    _transfer(FakeSource(), destination).run(plan)
    assert destination.happened("manifest") == [str(plan.root.digest)]


def test_content_that_is_there_only_gets_its_tags() -> None:
    destination = FakeDestination()
    child = image()
    plan = tag_plan(index([child]), ["1", "2"], [("arm", child)])
    _transfer(FakeSource(), destination).run(plan)
    assert sorted(destination.events) == [("manifest", tag) for tag in ("1", "2", "arm")]
    assert destination.stored.keys() == {plan.root.digest, child.digest}


def test_tags_of_children_are_put_with_the_roots() -> None:
    first, second = image([b"1"]), image([b"2"])
    root = index([first, second])
    destination = FakeDestination()
    plan = make_plan(
        root,
        {first.digest: first, second.digest: second},
        ["1"],
        child_tags=[("a", first), ("b", second)],
    )
    _transfer(FakeSource([b"1", b"2", b"{}"]), destination).run(plan)
    pushed = destination.happened("manifest")
    assert set(pushed[:2]) == {str(first.digest), str(second.digest)}
    assert set(pushed[2:]) == {"1", "a", "b"}


def test_a_plan_without_its_tags_pushes_the_root_by_digest() -> None:
    child = image([b"1"])
    root = index([child])
    plan = make_plan(root, {child.digest: child}, ["1"], child_tags=[("a", child)])
    destination = FakeDestination()
    _transfer(FakeSource([b"1", b"{}"]), destination).run(plan.without_tags())
    assert destination.happened("manifest") == [str(child.digest), str(root.digest)]


def test_blobs_that_are_there_or_mounted_are_not_read() -> None:
    destination = FakeDestination(
        there=[digest_of(b"1")],
        outcomes={
            digest_of(b"333"): BlobOutcome.MOUNTED,
            digest_of(b"{}"): BlobOutcome.SKIPPED,
        },
    )
    source = FakeSource([b"55555"])
    plan = make_plan(image(LAYERS), {}, ["1"], mount_from="team/base")
    report = count_results(_transfer(source, destination).run(plan))
    assert source.opened == [digest_of(b"55555")]
    assert str(digest_of(b"1")) not in destination.happened("start")
    assert set(destination.asked_to_mount_from) == {"team/base"}
    assert report == TransferReport(1, 1, 2, 5, bytes_skipped=3)


def test_blobs_that_the_destination_refers_to_are_counted_and_left_alone() -> None:
    root = image(LAYERS)
    destination = FakeDestination()
    report = count_results(
        _transfer(FakeSource(), destination).run(make_plan(root, {}, ["1"], known=root.blobs))
    )
    assert destination.events == [("manifest", "1")]
    assert report == TransferReport(blobs_skipped=4, bytes_skipped=11)


def test_a_failed_blob_is_cancelled_stops_the_rest_and_no_manifest_is_pushed() -> None:
    destination = FakeDestination(failures={str(digest_of(b"55555")): [DENIED]})
    source = FakeSource([*LAYERS, b"{}"])
    with pytest.raises(DeniedError):
        _transfer(source, destination).run(_plan("1", "2"))
    assert destination.events[:2] == [
        ("start", str(digest_of(b"55555"))),
        ("cancel", str(digest_of(b"55555"))),
    ]
    assert destination.happened("manifest") == []


def test_wrong_bytes_are_cancelled_and_not_tried_again() -> None:
    source, destination = FakeSource([b"55555", b"{}"]), FakeDestination()
    source.content[digest_of(b"55555")] = b"55554"
    with pytest.raises(DigestMismatchError):
        _transfer(source, destination).run(_plan("1", layers=[b"55555"]))
    assert source.opened.count(digest_of(b"55555")) == 1
    assert destination.happened("cancel") == [str(digest_of(b"55555"))]
    assert str(digest_of(b"55555")) not in destination.happened("blob")
    assert destination.happened("manifest") == []


def test_an_upload_is_cancelled_when_its_source_cannot_be_opened() -> None:
    destination = FakeDestination()
    with pytest.raises(KeyError):
        _transfer(FakeSource([b"{}"]), destination).run(_plan("1", layers=[b"55555"]))
    assert destination.happened("cancel") == [str(digest_of(b"55555"))]


def test_a_child_that_is_rejected_leaves_every_tag_alone() -> None:
    child = image([b"1"])
    root = index([child])
    destination = FakeDestination(failures={str(child.digest): [DENIED]})
    with pytest.raises(DeniedError):
        _transfer(FakeSource([b"1", b"{}"]), destination).run(
            make_plan(root, {child.digest: child}, ["1", "2"])
        )
    assert destination.happened("manifest") == []


def test_a_blob_that_breaks_off_begins_again_with_a_new_upload() -> None:
    name = str(digest_of(b"55555"))
    broken = [TransientError("broke"), TransientError("broke")]
    destination = FakeDestination(failures={name: broken})
    source = FakeSource([b"55555", b"{}"])
    report = count_results(_transfer(source, destination).run(_plan("1", layers=[b"55555"])))
    assert [each for each in destination.events if each[1] == name] == [
        ("start", name),
        ("cancel", name),
        ("start", name),
        ("cancel", name),
        ("start", name),
        ("blob", name),
    ]
    assert report.bytes_copied == 7


def test_a_blob_that_keeps_breaking_off_is_given_up() -> None:
    name = str(digest_of(b"55555"))
    destination = FakeDestination(failures={name: [TransientError("broke")] * 9})
    with pytest.raises(TransientError):
        _transfer(FakeSource([b"55555", b"{}"]), destination).run(_plan("1", layers=[b"55555"]))
    assert destination.happened("start").count(name) == 3
    assert destination.happened("manifest") == []


def test_nothing_starts_once_the_deadline_was_stopped() -> None:
    deadline = Deadline(100)
    deadline.stop()
    source, destination = FakeSource([*LAYERS, b"{}"]), FakeDestination()
    with pytest.raises(StoppedError):
        _transfer(source, destination, deadline=deadline).run(_plan("1"))
    assert destination.events == []


def test_a_stop_reaches_a_blob_in_the_middle() -> None:
    deadline = Deadline(100)

    class StoppingDestination(FakeDestination):
        def sending(self, descriptor: Descriptor) -> None:
            super().sending(descriptor)
            deadline.stop()

    destination = StoppingDestination()
    with pytest.raises(StoppedError):
        _transfer(FakeSource([b"55555"]), destination, deadline=deadline).run(
            _plan("1", layers=[b"55555"])
        )
    assert destination.happened("cancel") == [str(digest_of(b"55555"))]


class _MeetingDestination(FakeDestination):
    """Lets uploads go on only when so many are in flight, and remembers buffers."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self.most_in_flight = 0
        self.buffers: set[int] = set()
        self._in_flight = 0
        self._meeting = threading.Barrier(parties, timeout=10)
        self._count_lock = threading.Lock()

    def start_upload(
        self, descriptor: Descriptor, *, mount_from: str | None
    ) -> FakeUpload | BlobOutcome:
        super().start_upload(descriptor, mount_from=mount_from)
        return _MeetingUpload(self, descriptor)

    def meet(self) -> None:
        with self._count_lock:
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        self._meeting.wait()
        with self._count_lock:
            self._in_flight -= 1
        self._meeting.wait()


class _MeetingUpload(FakeUpload):
    def __init__(self, destination: _MeetingDestination, descriptor: Descriptor) -> None:
        super().__init__(destination, descriptor)
        self._meeting_destination = destination

    def finish(self, body: VerifiedStream) -> None:
        self._meeting_destination.meet()
        for view in body:
            self._meeting_destination.buffers.add(id(view.obj))


def test_as_many_streams_as_allowed_run_and_each_reuses_its_buffer() -> None:
    layers = [bytes([number]) * 9 for number in range(11)]
    destination = _MeetingDestination(parties=3)
    _transfer(FakeSource([*layers, b"{}"]), destination, streams=3).run(_plan("1", layers=layers))
    assert destination.most_in_flight == 3
    assert len(destination.buffers) == 3


class _WaitingUpload(FakeUpload):
    """Its body, or the answer to it, waits for another upload."""

    def __init__(
        self,
        destination: FakeDestination,
        descriptor: Descriptor,
        *,
        before_body: threading.Event,
        before_answer: threading.Event,
        sent: threading.Event,
    ) -> None:
        super().__init__(destination, descriptor)
        self._before_body = before_body
        self._before_answer = before_answer
        self._sent = sent

    def finish(self, body: VerifiedStream) -> None:
        views = iter(body)
        content = bytes(next(views))
        assert self._before_body.wait(60)
        content += b"".join(map(bytes, views))
        self._sent.set()
        assert self._before_answer.wait(60)


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_the_next_upload_is_opened_while_a_body_flows() -> None:
    both_open = threading.Barrier(2, timeout=10)
    opened = threading.Event()

    class Destination(FakeDestination):
        def start_upload(
            self, descriptor: Descriptor, *, mount_from: str | None
        ) -> FakeUpload | BlobOutcome:
            super().start_upload(descriptor, mount_from=mount_from)
            if both_open.wait() == 0:
                opened.set()
            return _WaitingUpload(
                self, descriptor, before_body=opened, before_answer=_set(), sent=_set()
            )

    destination = Destination()
    source = FakeSource([b"333", b"{}"])
    _transfer(source, destination, streams=1).run(_plan("1", layers=[b"333"]))
    assert len(destination.happened("start")) == 2


def test_the_next_body_flows_while_the_answer_to_the_last_one_is_waited_for() -> None:
    sent = [threading.Event(), threading.Event()]

    class Destination(FakeDestination):
        def start_upload(
            self, descriptor: Descriptor, *, mount_from: str | None
        ) -> FakeUpload | BlobOutcome:
            super().start_upload(descriptor, mount_from=mount_from)
            mine, other = sent if descriptor.size_bytes == 3 else reversed(sent)
            return _WaitingUpload(
                self, descriptor, before_body=_set(), before_answer=other, sent=mine
            )

    source = FakeSource([b"333", b"{}"])
    report = count_results(
        _transfer(source, Destination(), streams=1).run(_plan("1", layers=[b"333"]))
    )
    assert report.blobs_copied == 2


def test_a_failure_on_one_stream_stops_the_blob_on_another() -> None:
    started = threading.Event()

    class OneFails(FakeDestination):
        def sending(self, descriptor: Descriptor) -> None:
            if descriptor.digest == digest_of(b"55555"):
                assert started.wait(60)
                raise DENIED
            started.set()
            # until the other's failure has arrived
            assert stopped.wait(60)

    class Watched(Deadline):
        def stop(self) -> None:
            super().stop()
            stopped.set()

    stopped = threading.Event()
    destination = OneFails()
    with pytest.raises(DeniedError):
        _transfer(
            FakeSource([b"55555", b"333"]), destination, deadline=Watched(100), streams=2
        ).run(_plan("1", layers=[b"55555", b"333"]))
    cancelled = {str(digest_of(b"55555")), str(digest_of(b"333"))}
    assert set(destination.happened("cancel")) >= cancelled
    assert destination.happened("blob") == []
    assert destination.happened("manifest") == []
