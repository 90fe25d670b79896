"""Connections that a session opens before the first request."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from local.certificates import CertificateAuthority
from local.web import LoopbackServer, Request, Response
from tests.waiting import MAX_WAIT_SECONDS, wait_until

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import Side, TransientError
from ecr_image_replicator.registry.http.messages import HttpRequest
from ecr_image_replicator.registry.http.session import Session
from ecr_image_replicator.registry.http.urls import parse_url

COUNT = 4


class Client:
    """A session, and a server that responds to concurrent requests when it has received all."""

    def __init__(self, server: LoopbackServer, session: Session, scheme: str) -> None:
        self.server = server
        self.session = session
        self.url = parse_url(f"{scheme}://localhost:{server.host.rpartition(':')[2]}/")
        self.deadline = Deadline(60)

    def get(self, path: str = "") -> bytes:
        request = HttpRequest("GET", self.url.resolve(path))
        response = self.session.send(request, side=Side.SOURCE, timeout_seconds=60)
        return response.read(100)

    def get_concurrently(self) -> list[bytes]:
        with ThreadPoolExecutor(COUNT) as pool:
            return list(pool.map(lambda _: self.get("concurrent"), range(COUNT)))

    def preconnect(self, count: int = COUNT) -> None:
        self.session.preconnect(self.url, count, self.deadline)

    def wait_for_connections(self, count: int) -> None:
        for thread in threading.enumerate():
            if thread.name == "preconnect":
                thread.join(MAX_WAIT_SECONDS)
        wait_until(lambda: self.server.accepted_connections >= count)
        assert self.server.accepted_connections == count


@pytest.fixture(params=["http", "https"])
def client(
    request: pytest.FixtureRequest,
    authority: CertificateAuthority,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Client]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    all_received = threading.Barrier(COUNT)

    def respond(received: Request) -> Response:
        if received.path == "/concurrent":
            all_received.wait(MAX_WAIT_SECONDS)
        return Response(200, body=b"hello")

    tls = authority.server_context() if request.param == "https" else None
    with LoopbackServer(respond, tls=tls) as server:
        session = Session(connections=8)
        yield Client(server, session, request.param)
        session.close()


def test_requests_use_preconnected_connections(client: Client) -> None:
    client.preconnect()
    client.wait_for_connections(COUNT)
    assert client.get_concurrently() == [b"hello"] * COUNT
    assert client.server.accepted_connections == COUNT


def test_requests_wait_for_preconnections_in_progress(client: Client) -> None:
    client.preconnect()
    assert client.get_concurrently() == [b"hello"] * COUNT
    assert client.server.accepted_connections == COUNT


def test_preconnect_opens_only_missing_connections(client: Client) -> None:
    client.get()
    client.preconnect()
    client.wait_for_connections(COUNT)
    client.preconnect()
    assert client.get_concurrently() == [b"hello"] * COUNT
    assert client.server.accepted_connections == COUNT


def test_a_preconnected_connection_that_was_closed_is_replaced(client: Client) -> None:
    client.preconnect(1)
    client.wait_for_connections(1)
    assert client.get() == b"hello"  # the request waits for the connection and keeps it
    client.preconnect(2)
    client.wait_for_connections(2)
    client.server.end_connections()
    assert [client.get(), client.get()] == [b"hello"] * 2
    assert client.server.accepted_connections == 3


def test_a_failed_preconnection_is_an_error_of_the_request(client: Client) -> None:
    client.server.close()
    client.preconnect()
    with pytest.raises(TransientError, match="cannot connect to"):
        client.get()


def test_requests_after_the_deadline_are_an_error(client: Client) -> None:
    client.deadline.stop()
    client.preconnect()
    with pytest.raises(TransientError):
        client.session.send(
            HttpRequest("GET", client.url),
            side=Side.SOURCE,
            timeout_seconds=60,
            deadline=client.deadline,
        )
