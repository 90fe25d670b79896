"""Connections through HTTP and HTTPS proxies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from local.certificates import CertificateAuthority
from local.proxy import ConnectProxy
from local.web import LoopbackServer, Response, read_body

from ecr_image_replicator.errors import Side, UntrustedHostError
from ecr_image_replicator.registry.http.messages import HttpRequest
from ecr_image_replicator.registry.http.session import Session
from ecr_image_replicator.registry.http.urls import parse_url


@pytest.fixture(autouse=True)
def _trusted_authority(authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    proxies = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", *proxies):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("is_proxied", [False, True])
def test_tcp_nodelay_is_set_with_and_without_a_proxy(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, is_proxied: bool
) -> None:
    # requests to loopback hosts do not use a proxy
    host = "registry.example" if is_proxied else "localhost"
    with (
        LoopbackServer(lambda _: Response(200), tls=authority.server_context(host)) as server,
        ConnectProxy(lambda _, port: port) as proxy,
    ):
        if is_proxied:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        session = Session(connections=1)
        session.send(get(server, host), side=Side.SOURCE, timeout_seconds=60).read(10)
        with kept_socket(session) as kept:
            assert kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        session.close()
        assert len(proxy.tunnels) == is_proxied


def test_requests_go_through_an_https_proxy(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, content = "registry.example", os.urandom(3 * 1024 * 1024)
    with (
        LoopbackServer(
            lambda request: Response(200, body=read_body(request, len(content)) or content),
            tls=authority.server_context(host),
        ) as server,
        ConnectProxy(lambda _, port: port) as proxy,
        tls_in_front_of(proxy.port, authority.server_context()) as port,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"https://localhost:{port}")
        session = Session(connections=1)
        for _ in range(2):
            response = session.send(get(server, host), side=Side.SOURCE, timeout_seconds=60)
            assert response.read(len(content)) == content
        put = HttpRequest("PUT", get(server, host).url, body=content)
        response = session.send(put, side=Side.SOURCE, timeout_seconds=60)
        assert response.read(len(content)) == content
        session.close()
        assert [tunnel.status for tunnel in proxy.tunnels] == [200]


def test_the_proxys_certificate_is_verified_even_if_the_registrys_is_not(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unknown = CertificateAuthority(tmp_path)
    host = "registry.example"
    with (
        LoopbackServer(lambda _: Response(200), tls=unknown.server_context(host)) as server,
        ConnectProxy(lambda _, port: port) as proxy,
        tls_in_front_of(proxy.port, unknown.server_context()) as untrusted,
        tls_in_front_of(proxy.port, authority.server_context()) as trusted,
    ):
        request = get(server, host)
        for port, is_verified in ((untrusted, False), (trusted, True)):
            monkeypatch.setenv("HTTPS_PROXY", f"https://localhost:{port}")
            session = Session(connections=1, unverified=frozenset({request.url.authority}))
            if is_verified:
                session.send(request, side=Side.SOURCE, timeout_seconds=60).read(10)
            else:
                with pytest.raises(UntrustedHostError, match="certificate verification failed"):
                    session.send(request, side=Side.SOURCE, timeout_seconds=60)
            session.close()


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_plain_http_request_through_a_proxy_has_the_absolute_url(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy, ThreadPoolExecutor(1) as pool:
        address = f"127.0.0.1:{proxy.getsockname()[1]}"
        monkeypatch.setenv("HTTP_PROXY", f"{scheme}user:word@{address}")
        received = pool.submit(respond_once, proxy)
        session = Session(connections=1)
        request = HttpRequest("GET", parse_url("http://registry.example/v2/?n=1#x"))
        assert session.send(request, side=Side.SOURCE, timeout_seconds=60).read(10) == b"hello"
        session.close()
    head = received.result().splitlines()
    assert head[0] == "GET http://registry.example/v2/?n=1 HTTP/1.1"
    assert "Host: registry.example" in head
    assert "Proxy-Authorization: Basic dXNlcjp3b3Jk" in head


def respond_once(listener: socket.socket) -> str:
    accepted, _ = listener.accept()
    with accepted, accepted.makefile("rb") as lines:
        head = b"".join(iter(lines.readline, b"\r\n"))
        accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        return head.decode()


def get(server: LoopbackServer, host: str) -> HttpRequest:
    return HttpRequest("GET", parse_url(f"https://{host}:{server.host.rpartition(':')[2]}/"))


@contextlib.contextmanager
def kept_socket(session: Session) -> Iterator[socket.socket]:
    [route] = session._connections._routes.values()  # noqa: SLF001 - no public way to the socket
    pool = route.pool
    with socket.socket(fileno=os.dup(pool.pool.queue[-1].sock.fileno())) as kept:
        yield kept


@contextlib.contextmanager
def tls_in_front_of(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Terminate TLS in front of a port on loopback. Yield the port of the TLS server."""
    ports: list[int] = []
    is_ready = threading.Event()
    loop = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(65536):
                writer.write(block)
                await writer.drain()
        writer.close()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
        finally:
            for each in (writer, inner_writer):
                each.transport.abort()

    async def serve(is_done: asyncio.Event) -> None:
        server = await asyncio.start_server(join, "127.0.0.1", 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
        is_ready.set()
        await is_done.wait()
        server.close()
        # a connection that is not closed here would be a warning in a later test
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for each in connections:
            each.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await asyncio.sleep(0)  # the loop closes aborted sockets in its next turn

    is_done = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(is_done),))
    thread.start()
    is_ready.wait()
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(is_done.set)
        thread.join()
        loop.close()
