"""Silent and slow servers, and the timeout of each wait."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from local.images import build_image, build_layer, push
from local.registry import RegistryServer
from tests.faults.fault_proxy import Exchange, FaultProxy
from tests.faults.hostile_servers import HostilePair, where
from tests.faults.stalls import declared_stalls, stall, timeout_of_client
from tests.waiting import wait_until

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import Side, TransientError
from ecr_image_replicator.registry.http.messages import HttpRequest
from ecr_image_replicator.registry.http.session import NotTlsError, Session
from ecr_image_replicator.registry.http.urls import parse_url
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings

STALL_SECONDS, RESPONSE_SECONDS = 30.0, 600.0
#: A timeout that tests reach.
SHORT_SECONDS = 0.1


@pytest.fixture
def short_timeout_session() -> Iterator[Session]:
    """A session with short timeouts."""
    opened = Session(
        connections=2, stall_timeout_seconds=SHORT_SECONDS, silence_timeout_seconds=SHORT_SECONDS
    )
    yield opened
    opened.close()


def _send(session: Session, method: str, url: str, body: bytes | None = None) -> bytes:
    request = HttpRequest(method, parse_url(url), {}, body)
    return session.send(request, side=Side.DESTINATION, timeout_seconds=900).read(100)


@pytest.mark.parametrize(
    ("method", "body", "seconds"),
    [
        ("PUT", b"x" * 1000, RESPONSE_SECONDS),
        ("PUT", None, RESPONSE_SECONDS),
        ("PATCH", b"x", RESPONSE_SECONDS),
        ("GET", None, STALL_SECONDS),
        ("POST", None, STALL_SECONDS),
    ],
)
def test_the_response_to_an_upload_can_take_longer_than_others(
    method: str, body: bytes | None, seconds: float
) -> None:
    def respond(exchange: Exchange) -> None:
        exchange.read_body()
        wait_until(lambda: timeout_of_client(exchange.client) == seconds)
        exchange.client.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 6\r\n\r\n")
        # a body that stalls after a late response is a stall
        wait_until(lambda: timeout_of_client(exchange.client) == min(seconds, STALL_SECONDS))
        exchange.client.sendall(b"stored")

    session = Session(connections=1)
    with declared_stalls(), FaultProxy("", lambda _: respond) as server:
        assert _send(session, method, f"http://{server.host}/blob", body) == b"stored"
        session.close()
        assert not server.defects


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_missing_response_times_out(short_timeout_session: Session, method: str) -> None:
    with (
        FaultProxy("", lambda _: Exchange.wait_for_client_close) as server,
        pytest.raises(TransientError, match=r"cannot connect to .*: connection timed out"),
    ):
        _send(short_timeout_session, method, f"http://{server.host}/")


def test_a_stalled_body_times_out(short_timeout_session: Session) -> None:
    def respond(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.client.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nx")
        exchange.wait_for_client_close()

    with (
        FaultProxy("", lambda _: respond) as server,
        pytest.raises(TransientError, match="connection timed out"),
    ):
        _send(short_timeout_session, "PUT", f"http://{server.host}/", b"x")


def test_the_response_to_a_blob_can_be_late(pair: HostilePair) -> None:
    def respond_late(exchange: Exchange) -> None:
        exchange.read_body()
        response = exchange.forward()
        wait_until(lambda: (timeout_of_client(exchange.client) or 0) > STALL_SECONDS)
        exchange.send(response)

    pair.destination_responds("digest=", respond_late, "PUT")
    with declared_stalls():
        pair.replicate()
    sent = [each.target for each in pair.destination.exchanges if "digest=" in each.target]
    assert len(sent) == len(set(sent)) == len(pair.image.blobs)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_silent_server_on_loopback_is_used_over_plain_http(
    short_timeout_session: Session, method: str
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(NotTlsError, match="TLS handshake timed out"),
    ):
        _send(short_timeout_session, method, f"https://127.0.0.1:{silent.getsockname()[1]}/")


class LineServer(FaultProxy):
    """A server that waits for a line end, which a TLS handshake lacks, as gunicorn does."""

    def _serve(self, accepted: socket.socket) -> None:
        if accepted.recv(1, socket.MSG_PEEK) == b"\x16":
            stall(accepted)
        super()._serve(accepted)


class PlainServer(FaultProxy):
    """A server that responds to a TLS handshake with an error of HTTP, as nginx does."""

    def _serve(self, accepted: socket.socket) -> None:
        accepted.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        accepted.close()


def test_the_error_for_a_server_without_tls_names_the_setting_for_plain_http(
    short_timeout_session: Session,
) -> None:
    with PlainServer("127.0.0.1:1") as server, pytest.raises(NotTlsError) as raised:
        _send(short_timeout_session, "GET", f"https://{server.host}/")
    assert "TLS failed (wrong version number)" in str(raised.value)
    assert "PLAIN_HTTP_REGISTRIES" in str(raised.value.hint)


def test_a_server_that_ignores_a_tls_handshake_is_used_over_plain_http() -> None:
    with (
        declared_stalls(),
        RegistryServer() as store,
        RegistryServer() as registry,
        LineServer(store.host) as source,
        LineServer(registry.host) as destination,
    ):
        image = build_image([build_layer(1000)])
        push(image, store.host, "app", "1")

        request = parse_request(
            {"SrcImage": f"{source.host}/app:1", "DestImage": f"{destination.host}/app:1"}
        )
        replicator = Replicator(Settings())
        replicator.replicate(request, deadline=Deadline(120), progress=LoggedProgress())
        replicator.close()
        assert registry.store.tags("app") == {"1": image.digest}


@pytest.mark.parametrize(
    "encoding",
    ["aws-chunked", "AWS-Chunked", "aws-chunked,", "identity", "utf-8", "binary", "gzip", "x-gzip"],
)
def test_an_intact_blob_with_any_content_encoding_is_accepted(
    pair: HostilePair, encoding: str
) -> None:
    def label(exchange: Exchange) -> None:
        response = exchange.forward()
        exchange.send(response.with_header(f"Content-Encoding: {encoding}".encode()))

    pair.source.reset_exchanges(where("/blobs/", "GET", label))
    pair.replicate()
    assert pair.destination_registry.store.tags("copy") == {"1": pair.image.digest}
