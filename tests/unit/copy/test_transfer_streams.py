from __future__ import annotations

import threading

import pytest
from tests.unit.builders import (
    FakeDestination,
    FakeSource,
    FakeUpload,
    digest_of,
)
from tests.unit.transfers import DENIED, new_plan, new_transfer

from ecr_image_replicator.copy.ports import BlobOutcome
from ecr_image_replicator.copy.results import count_results
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import (
    DeniedError,
)
from ecr_image_replicator.model.digests import VerifiedStream
from ecr_image_replicator.model.manifests import Descriptor


class _MeetingDestination(FakeDestination):
    """Blocks uploads until this many are in flight, and records their buffers."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self.most_in_flight = 0
        self.buffers: set[int] = set()
        self._in_flight = 0
        self._meeting = threading.Barrier(parties, timeout=60)
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
    new_transfer(FakeSource([*layers, b"{}"]), destination, streams=3).run(
        new_plan("1", layers=layers)
    )
    assert destination.most_in_flight == 3
    assert len(destination.buffers) == 3


class _WaitingUpload(FakeUpload):
    """An upload whose body or response waits for another upload."""

    def __init__(
        self,
        destination: FakeDestination,
        descriptor: Descriptor,
        *,
        before_body: threading.Event,
        before_response: threading.Event,
        sent: threading.Event,
    ) -> None:
        super().__init__(destination, descriptor)
        self._before_body = before_body
        self._before_response = before_response
        self._sent = sent

    def finish(self, body: VerifiedStream) -> None:
        views = iter(body)
        content = bytes(next(views))
        assert self._before_body.wait(60)
        content += b"".join(map(bytes, views))
        self._sent.set()
        assert self._before_response.wait(60)


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_the_next_upload_is_opened_while_a_body_flows() -> None:
    both_open = threading.Barrier(2, timeout=60)
    opened = threading.Event()

    class Destination(FakeDestination):
        def start_upload(
            self, descriptor: Descriptor, *, mount_from: str | None
        ) -> FakeUpload | BlobOutcome:
            super().start_upload(descriptor, mount_from=mount_from)
            if both_open.wait() == 0:
                opened.set()
            return _WaitingUpload(
                self, descriptor, before_body=opened, before_response=_set(), sent=_set()
            )

    destination = Destination()
    source = FakeSource([b"333", b"{}"])
    new_transfer(source, destination, streams=1).run(new_plan("1", layers=[b"333"]))
    assert len(destination.happened("start")) == 2


def test_the_next_body_is_sent_while_the_previous_response_is_pending() -> None:
    sent = [threading.Event(), threading.Event()]

    class Destination(FakeDestination):
        def start_upload(
            self, descriptor: Descriptor, *, mount_from: str | None
        ) -> FakeUpload | BlobOutcome:
            super().start_upload(descriptor, mount_from=mount_from)
            mine, other = sent if descriptor.size_bytes == 3 else reversed(sent)
            return _WaitingUpload(
                self, descriptor, before_body=_set(), before_response=other, sent=mine
            )

    source = FakeSource([b"333", b"{}"])
    report = count_results(
        new_transfer(source, Destination(), streams=1).run(new_plan("1", layers=[b"333"]))
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
            # until the other stream has failed
            assert stopped.wait(60)

    class Watched(Deadline):
        def stop(self) -> None:
            super().stop()
            stopped.set()

    stopped = threading.Event()
    destination = OneFails()
    with pytest.raises(DeniedError):
        new_transfer(
            FakeSource([b"55555", b"333"]), destination, deadline=Watched(100), streams=2
        ).run(new_plan("1", layers=[b"55555", b"333"]))
    cancelled = {str(digest_of(b"55555")), str(digest_of(b"333"))}
    assert set(destination.happened("cancel")) >= cancelled
    assert destination.happened("blob") == []
    assert destination.happened("manifest") == []
