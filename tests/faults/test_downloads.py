"""Interrupted downloads, invalid range responses and expired signed URLs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from local.images import Image, build_image, build_layer, push
from local.registry import RegistryServer
from tests.faults.fault_kinds import cut_body, respond_with
from tests.faults.fault_proxy import Exchange, Fault, FaultProxy, Message, pass_on
from tests.faults.stalls import declared_stalls
from tests.replicating import replicate_once

from ecr_image_replicator.errors import (
    DeniedError,
    NotFoundError,
    ProtocolError,
    UnavailableError,
)
from ecr_image_replicator.outcome import Outcome

SIZE = 40_000


class Stage:
    def __init__(self, source: FaultProxy, destination: RegistryServer, image: Image) -> None:
        self.source = source
        self.destination = destination
        self.image = image
        self.layer = next(d for d, blob in image.blobs.items() if blob != image.config)

    def on_layer(self, *faults: Fault, part: str = "") -> None:
        """Inject these faults, one each, into the requests for the layer."""
        left = list(faults)

        def choose(exchange: Exchange) -> Fault:
            target = exchange.request.target.replace("%3A", ":")
            is_meant = self.layer in target and part in target
            return left.pop(0) if is_meant and left else pass_on

        self.source.reset_exchanges(choose)

    def replicate(self, *, streams: int = 1) -> Outcome:
        return replicate_once(
            {
                "SrcImage": f"{self.source.host}/app:1",
                "DestImage": f"{self.destination.host}/copy:1",
                "RetryConfigs": {"numAttempts": 3, "baseDelay": 0},
            },
            streams=streams,
            # longer than the timeout of the proxy, which would report a defect
            stall_timeout_seconds=60,
        )

    def requests_for_layer(self, part: str = "") -> int:
        targets = [each.target.replace("%3A", ":") for each in self.source.exchanges]
        return sum(self.layer in target and part in target for target in targets)


@pytest.fixture
def stage() -> Iterator[Stage]:
    image = build_image([build_layer(SIZE)])
    with RegistryServer() as source, RegistryServer() as destination:
        push(image, source.host, "app", "1")
        with FaultProxy(source.host) as proxy:
            yield Stage(proxy, destination, image)


def with_range(content_range: str, *, status: int = 206) -> Fault:
    def inject(exchange: Exchange) -> None:
        response = exchange.forward()
        lines = [f"HTTP/1.1 {status} Partial", f"Content-Length: {len(response.body)}"]
        lines += [f"Content-Range: {content_range}"] if content_range else []
        exchange.send(Message("\r\n".join([*lines, "", ""]).encode(), response.body))

    return inject


def without_range(exchange: Exchange) -> None:
    """Ignore the Range header."""
    lines = exchange.request.head.split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(b"range:")]
    assert len(kept) == len(lines) - 1
    exchange.request.head = b"\r\n".join(kept)
    pass_on(exchange)


def test_a_download_resumes_after_the_last_received_byte(stage: Stage) -> None:
    stage.on_layer(cut_body(0.3), cut_body(0.5), pass_on)
    outcome = stage.replicate()
    assert str(outcome.digest) == stage.image.digest
    assert stage.requests_for_layer() == 3
    uploads = [each for each in stage.destination.requests if each.method == "PUT"]
    assert len(uploads) == len(stage.image.blobs) + 1


def test_a_download_without_range_support_restarts(stage: Stage) -> None:
    stage.on_layer(cut_body(0.5), without_range)
    stage.replicate()
    assert stage.destination.store.tags("copy") == {"1": stage.image.digest}
    assert stage.requests_for_layer() == 2


@pytest.mark.parametrize(
    "content_range", ["", "bytes 0-1/2", "bytes 0-99999/*", "bytes 5-9", "items 1-2/3", "x"]
)
def test_a_wrong_range_in_a_response_is_an_error(stage: Stage, content_range: str) -> None:
    stage.on_layer(cut_body(0.5), with_range(content_range))
    with pytest.raises(ProtocolError, match="other bytes than requested"):
        stage.replicate()
    assert stage.destination.store.open_uploads == ()


def test_a_download_without_progress_is_an_error(stage: Stage) -> None:
    stage.on_layer(*[cut_body(0.1)] * 100)
    with pytest.raises(UnavailableError, match="after 3 attempts"):
        stage.replicate()
    # the upload does not restart the download
    assert stage.requests_for_layer() == 3
    assert stage.destination.store.open_uploads == ()


def test_an_expired_signed_url_is_renewed(stage: Stage) -> None:
    with FaultProxy(stage.source.upstream) as storage:
        faults = [respond_with(403, "AccessDenied"), pass_on]
        storage.reset_exchanges(lambda _: faults.pop(0))

        def redirect(exchange: Exchange) -> None:
            location = f"http://{storage.host}{exchange.request.target}"
            head = f"HTTP/1.1 307 There\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n"
            exchange.send(Message(head.encode()))

        stage.on_layer(redirect, redirect)
        stage.replicate()
        assert len(storage.exchanges) == 2
    assert stage.requests_for_layer() == 2
    assert stage.destination.store.tags("copy") == {"1": stage.image.digest}


def test_a_signed_url_that_expires_during_a_body_is_renewed(stage: Stage) -> None:
    ranges: list[bytes] = []

    def noted(fault: Fault) -> Fault:
        def inject(exchange: Exchange) -> None:
            lines = exchange.request.head.split(b"\r\n")
            ranges.extend(each for each in lines if each.lower().startswith(b"range:"))
            fault(exchange)

        return inject

    with FaultProxy(stage.source.upstream) as storage:
        expired = respond_with(403, "AccessDenied")
        left = [cut_body(0.5), noted(expired), noted(pass_on)]
        storage.reset_exchanges(lambda _: left.pop(0))

        def redirect(exchange: Exchange) -> None:
            location = f"http://{storage.host}{exchange.request.target}"
            head = f"HTTP/1.1 307 There\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n"
            exchange.send(Message(head.encode()))

        stage.on_layer(redirect, redirect, redirect)
        stage.replicate()
        assert len(storage.exchanges) == 3
    # the registry signs a new URL each time, and received bytes are not requested again
    assert stage.requests_for_layer() == 3
    assert len(set(ranges)) == 1
    assert int(ranges[0].removeprefix(b"Range: bytes=").removesuffix(b"-")) > 0
    assert stage.destination.store.tags("copy") == {"1": stage.image.digest}
    assert sum(each.method == "POST" for each in stage.destination.requests) == 2


def test_a_rejected_signed_url_is_requested_twice(stage: Stage) -> None:
    with FaultProxy(stage.source.upstream, lambda _: respond_with(403, "AccessDenied")) as storage:

        def redirect(exchange: Exchange) -> None:
            location = f"http://{storage.host}{exchange.request.target}"
            head = f"HTTP/1.1 307 There\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n"
            exchange.send(Message(head.encode()))

        stage.on_layer(*[redirect] * 9)
        with pytest.raises(DeniedError):
            stage.replicate()
        assert len(storage.exchanges) == 2


def test_a_waiting_stream_does_not_delay_a_failure(stage: Stage) -> None:
    config = next(d for d, blob in stage.image.blobs.items() if blob == stage.image.config)
    waiting = threading.Event()

    def wait(exchange: Exchange) -> None:
        waiting.set()
        exchange.wait_for_client_close()

    def reject(exchange: Exchange) -> None:
        assert waiting.wait(60)
        respond_with(403, "DENIED")(exchange)

    def choose(exchange: Exchange) -> Fault:
        if stage.layer in exchange.request.target:
            return wait
        return reject if config in exchange.request.target else pass_on

    stage.source.reset_exchanges(choose)
    with pytest.raises(DeniedError):
        stage.replicate(streams=2)
    assert stage.source.wait_until_closed()
    assert stage.source.defects == []
    assert stage.destination.store.open_uploads == ()


def test_a_stall_counts_as_a_broken_connection(stage: Stage) -> None:
    stage.on_layer(cut_body(0.5, stalls=True))
    with declared_stalls():
        stage.replicate()
    assert stage.destination.store.tags("copy") == {"1": stage.image.digest}
    assert stage.requests_for_layer() == 2


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("code", ["", "BLOB_UNKNOWN", "UNKNOWN"])
def test_the_message_for_a_missing_blob_says_that_the_source_is_incomplete(
    stage: Stage, code: str, status: int
) -> None:
    stage.on_layer(respond_with(status, code))
    with pytest.raises(NotFoundError) as raised:
        stage.replicate()
    assert f"cannot pull blob {stage.layer} of " in str(raised.value)
    assert f": blob not found ({status} " in str(raised.value)
    assert "Push the image to the source again: its content there is incomplete." in str(
        raised.value
    )
