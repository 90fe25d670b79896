from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from local.certificates import CertificateAuthority
from local.web import LoopbackServer, Request, Response

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import Side, TransientError
from ecr_image_replicator.registry.http.messages import HttpRequest
from ecr_image_replicator.registry.http.session import Session
from ecr_image_replicator.registry.http.urls import parse_url

COUNT = 4
_PATIENCE_SECONDS = 60.0


class Scene:
    """A server that responds when so many requests have arrived at once, and a session."""

    def __init__(self, server: LoopbackServer, session: Session, scheme: str) -> None:
        self.server = server
        self.session = session
        self.url = parse_url(f"{scheme}://localhost:{server.host.rpartition(':')[2]}/")
        self.deadline = Deadline(60)

    def ask(self, path: str = "") -> bytes:
        request = HttpRequest("GET", self.url.resolve(path))
        response = self.session.send(request, side=Side.SOURCE, timeout_seconds=5)
        return response.read(100)

    def ask_at_once(self) -> list[bytes]:
        with ThreadPoolExecutor(COUNT) as pool:
            return list(pool.map(lambda _: self.ask("together"), range(COUNT)))

    def preconnect(self, count: int = COUNT) -> None:
        self.session.preconnect(self.url, count, self.deadline)

    def wait_for_connections(self, count: int) -> None:
        for thread in threading.enumerate():
            if thread.name == "preconnect":
                thread.join(_PATIENCE_SECONDS)
        until = time.monotonic() + _PATIENCE_SECONDS
        while self.server.accepted_connections < count and time.monotonic() < until:
            threading.Event().wait(0.005)
        assert self.server.accepted_connections == count


@pytest.fixture(params=["http", "https"])
def scene(
    request: pytest.FixtureRequest,
    authority: CertificateAuthority,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    all_are_there = threading.Barrier(COUNT)

    def respond(asked: Request) -> Response:
        if asked.path == "/together":
            all_are_there.wait(_PATIENCE_SECONDS)
        return Response(200, body=b"hello")

    tls = authority.server_context() if request.param == "https" else None
    with LoopbackServer(respond, tls=tls) as server:
        session = Session(connections=8)
        yield Scene(server, session, request.param)
        session.close()


def test_requests_take_the_connections_that_were_opened_ahead(scene: Scene) -> None:
    scene.preconnect()
    scene.wait_for_connections(COUNT)
    assert scene.ask_at_once() == [b"hello"] * COUNT
    assert scene.server.accepted_connections == COUNT


def test_requests_wait_for_connections_that_are_being_opened(scene: Scene) -> None:
    scene.preconnect()
    assert scene.ask_at_once() == [b"hello"] * COUNT
    assert scene.server.accepted_connections == COUNT


def test_what_is_kept_is_not_opened_again(scene: Scene) -> None:
    scene.ask()
    scene.preconnect()
    scene.wait_for_connections(COUNT)
    scene.preconnect()
    assert scene.ask_at_once() == [b"hello"] * COUNT
    assert scene.server.accepted_connections == COUNT


def test_a_connection_that_died_before_it_was_wanted_is_replaced(scene: Scene) -> None:
    scene.preconnect(1)
    scene.wait_for_connections(1)
    assert scene.ask() == b"hello"  # it is open by then, and kept
    scene.preconnect(2)
    scene.wait_for_connections(2)
    scene.server.end_connections()
    assert [scene.ask(), scene.ask()] == [b"hello"] * 2
    assert scene.server.accepted_connections == 3


def test_a_connection_that_cannot_be_opened_is_an_error_of_the_request(scene: Scene) -> None:
    scene.server.close()
    scene.preconnect()
    with pytest.raises(TransientError, match="cannot connect to"):
        scene.ask()


def test_nothing_is_opened_when_the_time_is_over(scene: Scene) -> None:
    scene.deadline.stop()
    scene.preconnect()
    with pytest.raises(TransientError):
        scene.session.send(
            HttpRequest("GET", scene.url),
            side=Side.SOURCE,
            timeout_seconds=5,
            deadline=scene.deadline,
        )
