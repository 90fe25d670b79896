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


class _BarrierDestination(FakeDestination):
    """A destination that blocks uploads until a number of them are in flight."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self.max_in_flight = 0
        self.buffers: set[int] = set()
        self._in_flight = 0
        self._barrier = threading.Barrier(parties, timeout=60)
        self._count_lock = threading.Lock()

    def start_upload(
        self, descriptor: Descriptor, *, mount_from: str | None
    ) -> FakeUpload | BlobOutcome:
        super().start_upload(descriptor, mount_from=mount_from)
        return _BarrierUpload(self, descriptor)

    def wait_for_others(self) -> None:
        with self._count_lock:
            self._in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self._in_flight)
        self._barrier.wait()
        with self._count_lock:
            self._in_flight -= 1
        self._barrier.wait()


class _BarrierUpload(FakeUpload):
    def __init__(self, destination: _BarrierDestination, descriptor: Descriptor) -> None:
        super().__init__(destination, descriptor)
        self._barrier_destination = destination

    def finish(self, body: VerifiedStream) -> None:
        self._barrier_destination.wait_for_others()
        for view in body:
            self._barrier_destination.buffers.add(id(view.obj))


def test_the_configured_number_of_streams_run_and_reuse_their_buffers() -> None:
    layers = [bytes([number]) * 9 for number in range(11)]
    destination = _BarrierDestination(parties=3)
    new_transfer(FakeSource([*layers, b"{}"]), destination, streams=3).run(
        new_plan("1", layers=layers)
    )
    assert destination.max_in_flight == 3
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


def _set_event() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_the_next_upload_is_opened_while_a_body_is_sent() -> None:
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
                self,
                descriptor,
                before_body=opened,
                before_response=_set_event(),
                sent=_set_event(),
            )

    destination = Destination()
    source = FakeSource([b"333", b"{}"])
    new_transfer(source, destination, streams=1).run(new_plan("1", layers=[b"333"]))
    assert len(destination.events_of("start")) == 2


def test_the_next_body_is_sent_while_the_previous_response_is_pending() -> None:
    sent = [threading.Event(), threading.Event()]

    class Destination(FakeDestination):
        def start_upload(
            self, descriptor: Descriptor, *, mount_from: str | None
        ) -> FakeUpload | BlobOutcome:
            super().start_upload(descriptor, mount_from=mount_from)
            mine, other = sent if descriptor.size_bytes == 3 else reversed(sent)
            return _WaitingUpload(
                self, descriptor, before_body=_set_event(), before_response=other, sent=mine
            )

    source = FakeSource([b"333", b"{}"])
    report = count_results(
        new_transfer(source, Destination(), streams=1).run(new_plan("1", layers=[b"333"]))
    )
    assert report.blobs_copied == 2


def test_a_failure_on_one_stream_stops_the_blob_on_another() -> None:
    started = threading.Event()

    class FailingDestination(FakeDestination):
        def start_body(self, descriptor: Descriptor) -> None:
            if descriptor.digest == digest_of(b"55555"):
                assert started.wait(60)
                raise DENIED
            started.set()
            # until the other stream fails
            assert stopped.wait(60)

    class WatchedDeadline(Deadline):
        def stop(self) -> None:
            super().stop()
            stopped.set()

    stopped = threading.Event()
    destination = FailingDestination()
    source = FakeSource([b"55555", b"333", b"{}"])
    transfer = new_transfer(source, destination, deadline=WatchedDeadline(100), streams=3)
    with pytest.raises(DeniedError):
        transfer.run(new_plan("1", layers=[b"55555", b"333"]))
    cancelled = {str(digest_of(b"55555")), str(digest_of(b"333"))}
    assert set(destination.events_of("cancel")) >= cancelled
    assert destination.events_of("blob") == []
    assert destination.events_of("manifest") == []
