"""Retried and permanent errors, with the number of requests counted at servers."""

from __future__ import annotations

import errno
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from local.certificates import CertificateAuthority
from local.images import Image, build_image, push
from local.registry import (
    Action,
    DroppedConnectionError,
    Operation,
    RegistryServer,
    SpecificationPolicy,
)
from local.web import Request, Response
from tests.faults.fault_kinds import TEMPORARY_STATUSES, respond_with
from tests.faults.fault_proxy import Exchange, Fault, FaultProxy, pass_on
from tests.registry_clients import new_destination_client
from tests.replicating import replicate_once

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import (
    OutOfTimeError,
    ReplicationError,
    ThrottledError,
    UnavailableError,
)
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.references import parse_image_reference
from ecr_image_replicator.outcome import Outcome
from ecr_image_replicator.registry.destination import RegistryDestination
from ecr_image_replicator.registry.http.session import Session
from ecr_image_replicator.retries import Backoff, OverloadedError, RetryPolicy, SharedPause

#: One request of each kind in a replication of one image, with its endpoint.
REQUESTS = {
    "the source's tag": ("source", "HEAD", "/manifests/"),
    "the source's manifest": ("source", "GET", "/manifests/"),
    "a blob": ("source", "GET", "/blobs/"),
    "the destination's tag": ("destination", "GET", "/manifests/"),
    "the opening of an upload": ("destination", "POST", "/uploads/"),
    "an upload": ("destination", "PUT", "/uploads/"),
    "the manifest": ("destination", "PUT", "/manifests/"),
}
QUICK = {"numAttempts": 3, "baseDelay": 0}


@dataclass
class Stage:
    source: FaultProxy
    destination: FaultProxy
    registry: RegistryServer
    image: Image

    def replicate(
        self, retries: Mapping[str, Any] = QUICK, *, source: str = "", seconds: float = 120
    ) -> Outcome:
        return replicate_once(
            {
                "SrcImage": f"{source or self.source.host}/app:1",
                "DestImage": f"{self.destination.host}/copy:1",
                "RetryConfigs": dict(retries),
            },
            seconds=seconds,
            streams=1,
        )

    def inject(self, what: str, *faults: Fault) -> Callable[[], int]:
        """Inject faults into the first request of a kind and its retries, and count them."""
        side, method, part = REQUESTS[what]
        left, targets = list(faults), list[str]()

        def choose(exchange: Exchange) -> Fault:
            target = exchange.request.target.partition("?")[0]
            if exchange.request.method != method or part not in target:
                return pass_on
            # a restarted upload has another URL
            if not targets or target == targets[0] or part == "/uploads/":
                targets.append(target)
                return left.pop(0) if left else pass_on
            return pass_on

        proxy: FaultProxy = getattr(self, side)
        proxy.reset_exchanges(choose)
        return lambda: len(targets)


@pytest.fixture
def stage() -> Iterator[Stage]:
    # the config is the only blob, so that requests are sequential
    image = build_image([])
    with (
        RegistryServer() as source,
        RegistryServer() as destination,
        FaultProxy(source.host) as before_source,
        FaultProxy(destination.host) as before_destination,
    ):
        push(image, source.host, "app", "1")
        yield Stage(before_source, before_destination, destination, image)


@pytest.mark.parametrize(
    ("what", "status"),
    [
        (what, status)
        for what in REQUESTS
        for status in TEMPORARY_STATUSES
        # a GET replaces a failed HEAD, and a GET by tag replaces one by digest
        if (what != "the source's tag" or status == 429)
        and (what, status) != ("the source's manifest", 500)
    ],
)
def test_a_transient_status_is_retried_once(stage: Stage, what: str, status: int) -> None:
    untouched = stage.inject(what)
    stage.replicate()
    stage.registry.store.delete_manifest("copy", stage.image.digest)
    for digest in stage.image.blobs:
        stage.registry.store.delete_blob("copy", digest)

    struck = stage.inject(what, respond_with(status))
    stage.replicate()

    # after its body was sent, an upload also requires a new POST
    assert struck() == untouched() + 1
    assert stage.registry.store.tags("copy") == {"1": stage.image.digest}
    assert stage.registry.store.open_uploads == ()


@pytest.mark.parametrize("what", [each for each in REQUESTS if each != "the source's tag"])
def test_a_persistent_status_is_retried_as_often_as_configured(stage: Stage, what: str) -> None:
    struck = stage.inject(what, *[respond_with(503)] * 99)
    with pytest.raises(UnavailableError, match=r"unavailable \(503 .* after 3 attempts"):
        stage.replicate()
    assert struck() == 3
    assert stage.registry.store.tags("copy") == {}


def test_an_upload_that_stays_throttled_fails_with_the_error_of_a_rate_limit(stage: Stage) -> None:
    struck = stage.inject("an upload", *[respond_with(429, "TOOMANYREQUESTS")] * 99)
    with pytest.raises(ThrottledError, match=r"rate limit exceeded \(429 .* after 3 attempts"):
        stage.replicate()
    assert struck() == 3
    assert stage.registry.store.open_uploads == ()


@pytest.mark.parametrize("status", [502, 504, 520, 524])
def test_a_blob_that_was_stored_before_a_gateways_error_is_not_sent_again(
    stage: Stage, status: int
) -> None:
    def respond_too_early(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.forward()
        respond_with(status)(exchange)

    struck = stage.inject("an upload", respond_too_early)
    stage.replicate()
    assert struck() == 1
    methods = [each.method for each in stage.destination.exchanges if "/blobs/" in each.target]
    # one HEAD tests whether mounts are honoured
    assert methods == ["POST", "HEAD", "PUT", "HEAD"]


class LostResponsePolicy(SpecificationPolicy):
    """A registry that loses the response to a closed upload, and rejects it with a status then."""

    def __init__(self, status: int) -> None:
        self._status = status
        self.closings = 0

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        response = super().after(operation, request, response)
        if operation.action is not Action.FINISH_UPLOAD:
            return response
        self.closings += 1
        if self.closings == 1:
            raise DroppedConnectionError
        return replace(response, status=self._status)


@pytest.mark.parametrize("status", [400, 404])
def test_a_layer_whose_session_is_unknown_after_a_lost_response_is_looked_for(status: int) -> None:
    policy, session = LostResponsePolicy(status), Session(connections=1)
    with RegistryServer(policy=policy) as server:
        client = new_destination_client(server.host, session, SharedPause())
        reference = parse_image_reference(f"{server.host}/copy:1")
        destination = RegistryDestination(reference, client, Backoff(RetryPolicy(), Deadline(60)))
        upload = destination.start_streamed_upload()
        upload.append(iter([b"a layer"]))
        upload.close_as(Digest.of(b"a layer"))
        session.close()
        assert policy.closings == 2
        assert [each.method for each in server.requests][-1] == "HEAD"


def test_retry_after_of_an_upload_pauses_all_requests_to_the_registry(stage: Stage) -> None:
    stage.destination.reset_exchanges(
        lambda _: respond_with(429, "TOOMANYREQUESTS", lambda: b"Retry-After: 40")
    )
    session, pause = Session(connections=1), SharedPause()
    client = new_destination_client(stage.destination.host, session, pause)
    with pytest.raises(OverloadedError):
        client.request("PUT", "/v2/copy/blobs/uploads/1", "push a layer", body=iter([b"x"]))
    session.close()
    assert pause.remaining_seconds > 0


@pytest.mark.parametrize(
    ("what", "status", "times"),
    [
        *(("a blob", status, 1) for status in (400, 403, 404, 405)),
        *(("the destination's tag", status, 1) for status in (400, 405)),
        # once with a mount, which some registries reject, and once without
        *(("the opening of an upload", status, 2) for status in (400, 403, 404, 405)),
        *(("an upload", status, 1) for status in (400, 403, 405)),
        *(("the manifest", status, 1) for status in (400, 403, 405)),
    ],
)
def test_a_permanent_status_is_not_retried(
    stage: Stage, what: str, status: int, times: int
) -> None:
    struck = stage.inject(what, *[respond_with(status, "UNSUPPORTED")] * 99)
    with pytest.raises(ReplicationError, match=f"{status}"):
        stage.replicate()
    assert struck() == times
    assert stage.registry.store.tags("copy") == {}
    assert stage.registry.store.open_uploads == ()


def test_a_retry_pause_past_the_deadline_fails_at_once(stage: Stage) -> None:
    later = respond_with(429, "TOOMANYREQUESTS", lambda: b"Retry-After: 3600")
    struck = stage.inject("the source's manifest", later)
    with pytest.raises(OutOfTimeError, match="the next attempt in 3600 s exceeds the deadline"):
        stage.replicate()
    assert struck() == 1
    assert stage.registry.store.tags("copy") == {}


def test_a_registry_that_starts_late_is_retried(stage: Stage) -> None:
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        # the port remains reserved: another socket may listen on it
        port = reserved.getsockname()[1]
        _replicate_from_late_registry(stage, port)
    assert stage.registry.store.tags("copy") == {"1": stage.image.digest}


def _replicate_from_late_registry(stage: Stage, port: int) -> None:
    started: list[RegistryServer] = []

    class Starter(logging.Handler):
        """A log handler that starts the registry after the first refused connection."""

        def emit(self, record: logging.LogRecord) -> None:
            if "connection refused" in record.getMessage() and not started:
                started.append(RegistryServer(port).start())
                push(stage.image, started[0].host, "app", "1")

    logger, starter = logging.getLogger("ecr_image_replicator.registry.client"), Starter()
    logger.addHandler(starter)
    try:
        stage.replicate(source=f"127.0.0.1:{port}")
    finally:
        logger.removeHandler(starter)
        for each in started:
            each.close()
    assert len(started) == 1


def test_an_unreachable_registry_is_an_error_after_all_attempts(stage: Stage) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # the socket never listens
        host = f"127.0.0.1:{reserved.getsockname()[1]}"
        with pytest.raises(UnavailableError, match=r"connection refused.* after 3 attempts"):
            stage.replicate(source=host)
    assert stage.registry.store.tags("copy") == {}


def test_a_connection_reset_during_connect_is_retried(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, left = socket.socket.connect, [errno.ECONNRESET, errno.EPIPE]
    port = int(stage.source.host.partition(":")[2])

    def reset_at_first(connecting: socket.socket, address: tuple[str, int]) -> None:
        if address[1] == port and left:
            raise OSError(left.pop(), "not this time")
        connect(connecting, address)

    monkeypatch.setattr(socket.socket, "connect", reset_at_first)
    stage.replicate()
    assert left == []
    assert stage.registry.store.tags("copy") == {"1": stage.image.digest}


class HandshakeProxy(FaultProxy):
    """A proxy that breaks the first TLS handshakes."""

    def break_handshake(self, *faults: Callable[[socket.socket], None]) -> None:
        self._left = list(faults)
        self._left_lock = threading.Lock()

    def _serve(self, accepted: socket.socket) -> None:
        with self._left_lock:
            fault = self._left.pop(0) if self._left else None
        if fault is None:
            super()._serve(accepted)
            return
        fault(accepted)
        accepted.close()
        with self._lock:
            del self._open[accepted]


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close_in_the_middle(client: socket.socket) -> None:
    client.recv(5)


def alert(client: socket.socket) -> None:
    """Send the alert ``internal_error`` (RFC 8446, section 6), like a server during a restart."""
    client.recv(65536)
    client.sendall(bytes([21, 3, 3, 0, 2, 2, 80]))


# ssl does not close a socket that is reset before it is wrapped
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")
@pytest.mark.parametrize("fault", [reset, close_in_the_middle, alert])
def test_a_failed_handshake_is_retried(
    small_trust_store: CertificateAuthority,
    stage: Stage,
    fault: Callable[[socket.socket], None],
) -> None:
    upstream = stage.source.upstream
    with HandshakeProxy(upstream, tls=small_trust_store.server_context()) as proxy:
        proxy.break_handshake(fault, fault)
        port = proxy.host.partition(":")[2]
        stage.replicate(source=f"localhost:{port}")
        assert not proxy.defects
    assert stage.registry.store.tags("copy") == {"1": stage.image.digest}
