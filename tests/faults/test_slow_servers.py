"""Servers that are silent or late, and the limits of each wait."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from local.images import build_image, build_layer, push
from local.registry import RegistryServer
from local.web import LoopbackServer, Request, Response, read_body
from tests.faults.fault_proxy import Exchange, FaultProxy
from tests.faults.hostile_servers import Ends, where

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import Side, TransientError
from ecr_image_replicator.registry.http.messages import HttpRequest
from ecr_image_replicator.registry.http.session import NotTlsError, Session
from ecr_image_replicator.registry.http.urls import parse_url
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings

STALL_SECONDS = 0.2
LATE_SECONDS = 0.6


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


@pytest.fixture
def session() -> Iterator[Session]:
    opened = Session(
        connections=2,
        stall_timeout_seconds=STALL_SECONDS,
        response_timeout_seconds=10,
        silence_timeout_seconds=STALL_SECONDS,
    )
    yield opened
    opened.close()


def _send(session: Session, method: str, url: str, body: bytes | None = None) -> bytes:
    request = HttpRequest(method, parse_url(url), {}, body)
    return session.send(request, side=Side.DESTINATION, timeout_seconds=60).read(100)


@pytest.mark.parametrize(("method", "body"), [("PUT", b"x" * 1000), ("PATCH", b"x"), ("PUT", None)])
def test_the_response_to_a_stored_body_may_take_longer_than_a_stall(
    session: Session, method: str, body: bytes | None
) -> None:
    def verify(request: Request) -> Response:
        read_body(request, 1000)
        _wait(LATE_SECONDS)
        return Response(201, {}, b"stored")

    with LoopbackServer(verify) as server:
        assert _send(session, method, f"{server.url}/blob", body) == b"stored"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_responses_may_not(session: Session, method: str) -> None:
    def respond(_: Request) -> Response:
        _wait(LATE_SECONDS)
        return Response(200)

    with (
        LoopbackServer(respond) as server,
        pytest.raises(TransientError, match=r"cannot connect to .*: connection timed out"),
    ):
        _send(session, method, f"{server.url}/")


def test_a_body_that_stalls_after_a_late_response_is_a_stall(session: Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.recv(65536)
                accepted.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nx")
                while accepted.recv(65536):
                    pass  # until the client has closed the connection

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(TransientError, match="connection timed out"):
            _send(session, "PUT", f"http://127.0.0.1:{listener.getsockname()[1]}/", b"x")
        thread.join(10)
        assert not thread.is_alive()


def test_a_blob_is_sent_once_although_its_response_is_late(ends: Ends) -> None:
    def respond_late(exchange: Exchange) -> None:
        exchange.read_body()
        response = exchange.forward()
        _wait(LATE_SECONDS)
        exchange.send(response)

    ends.replicator.close()
    ends.replicator = Replicator(
        Settings(streams=2, plain_http=("127.0.0.1",), stall_timeout_seconds=STALL_SECONDS)
    )
    ends.destination_responds("digest=", respond_late, "PUT")
    ends.replicate()
    sent = [each.target for each in ends.destination.exchanges if "digest=" in each.target]
    assert len(sent) == len(set(sent)) == len(ends.image.blobs)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_silent_server_on_loopback_does_not_use_tls(session: Session, method: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(NotTlsError, match="TLS handshake timed out"),
    ):
        _send(session, method, f"https://127.0.0.1:{silent.getsockname()[1]}/")


def test_a_registry_that_waits_for_a_request_line_is_used_over_plain_http() -> None:
    """A server like gunicorn waits for the end of a line that a TLS handshake does not have."""
    with (
        RegistryServer() as store,
        RegistryServer() as destination,
        FaultProxy(store.host) as source,
    ):
        image = build_image([build_layer(1000)])
        push(image, store.host, "app", "1")

        request = parse_request(
            {"SrcImage": f"{source.host}/app:1", "DestImage": f"{destination.host}/app:1"}
        )
        replicator = Replicator(Settings())
        replicator.replicate(request, deadline=Deadline(30), progress=LoggedProgress())
        replicator.close()
        assert destination.store.tags("app") == {"1": image.digest}


@pytest.mark.parametrize("encoding", ["aws-chunked", "AWS-Chunked", "aws-chunked,", "identity"])
def test_an_encoding_that_leaves_bytes_as_they_are_is_accepted(ends: Ends, encoding: str) -> None:
    def label(exchange: Exchange) -> None:
        response = exchange.forward()
        exchange.send(response.with_header(f"Content-Encoding: {encoding}".encode()))

    ends.source.start_over(where("/blobs/", "GET", label))
    ends.replicate()
    assert ends.destination_registry.store.tags("copy") == {"1": ends.image.digest}
