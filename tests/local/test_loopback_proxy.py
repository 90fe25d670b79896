from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Callable, Iterator

import pytest
from local.aws import LoopbackAws
from local.proxy import ConnectProxy, Tunnel
from local.web import LoopbackServer, Request, Response, read_body
from tests.local.wire_client import WireClient

ClientFactory = Callable[[str], WireClient]
HUB = "registry-1.docker.io"


@pytest.fixture
def echo() -> Iterator[LoopbackServer]:
    def response(request: Request) -> Response:
        return Response(200, {}, read_body(request, 64 * 1024 * 1024))

    with LoopbackServer(response) as server:
        yield server


@pytest.fixture
def proxy(echo: LoopbackServer) -> Iterator[ConnectProxy]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # the socket never listens
        ports = {
            ("echo.example", 80): echo.port,
            ("unreachable.example", 80): unused.getsockname()[1],
        }
        with ConnectProxy(lambda host, port: ports.get((host, port))) as started:
            yield started


def tunnelled(proxy: ConnectProxy, host: str, port: int = 80) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
    connection.set_tunnel(host, port)
    return connection


def test_a_tunnel_forwards_bytes_in_both_directions(proxy: ConnectProxy) -> None:
    connection = tunnelled(proxy, "echo.example")
    sent = bytes(range(256)) * 16384
    for body in (sent, b"", sent[:1000]):
        connection.request("PUT", "/", body)
        assert connection.getresponse().read() == body
    connection.close()
    assert proxy.tunnels == (Tunnel("echo.example", 80, 200),)


@pytest.mark.parametrize(
    ("host", "port", "status"),
    [
        ("unknown.example", 80, 403),
        ("echo.example", 8080, 403),
        ("unreachable.example", 80, 502),
    ],
)
def test_unknown_hosts_are_rejected_and_logged(
    proxy: ConnectProxy, host: str, port: int, status: int
) -> None:
    with pytest.raises(OSError, match=f"Tunnel connection failed: {status}"):
        tunnelled(proxy, host, port).request("GET", "/")
    assert proxy.tunnels == (Tunnel(host, port, status),)


def test_every_connect_gets_the_configured_status(proxy: ConnectProxy) -> None:
    proxy.rejection = 407
    with pytest.raises(OSError, match="Tunnel connection failed: 407"):
        tunnelled(proxy, "echo.example").request("GET", "/")
    assert proxy.tunnels == (Tunnel("echo.example", 80, 407),)


@pytest.mark.parametrize("line", ["GET http://echo.example/ HTTP/1.1", "CONNECT echo HTTP/1.1", ""])
def test_only_connect_is_supported(proxy: ConnectProxy, line: str) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), 60) as client:
        client.sendall(f"{line}\r\nHost: x\r\n\r\n".encode())
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 400 ")


def test_bytes_after_the_head_are_forwarded(proxy: ConnectProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), 60) as client:
        client.sendall(
            b"CONNECT echo.example:80 HTTP/1.1\r\n\r\n"
            b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
        )
        received = client.makefile("rb").read()
    assert received.endswith(b"\r\n\r\nbody")


def test_closing_the_proxy_closes_its_tunnels(echo: LoopbackServer) -> None:
    proxy = ConnectProxy(lambda _host, _port: echo.port).start()
    connection = tunnelled(proxy, "echo.example")
    connection.request("PUT", "/", io.BytesIO(b"x"), {"Content-Length": "1"})
    assert connection.getresponse().read() == b"x"
    proxy.close()
    assert connection.sock.recv(1) == b""
    connection.close()


def test_the_end_of_a_connection_is_forwarded(aws: LoopbackAws, client_for: ClientFactory) -> None:
    client = client_for("plain.example")
    aws.add_host("plain.example", lambda _: Response(200, {}, b"x" * 100, drop_after_bytes=10))
    with pytest.raises(http.client.IncompleteRead):
        client.send("GET", "/")


def test_only_tls_to_known_hosts_is_forwarded(aws: LoopbackAws, client_for: ClientFactory) -> None:
    assert client_for(HUB).send("GET", "/v2/").status == 401
    for host, port in (("example.com", 443), (HUB, 80), ("127.0.0.1", 443), ("localhost", 443)):
        connection = tunnelled(aws.proxy, host, port)
        with pytest.raises(OSError, match="403"):
            connection.request("GET", "/")
    assert [tunnel.status for tunnel in aws.tunnels] == [200, 403, 403, 403, 403]


def test_a_request_with_an_unknown_host_header_is_misdirected(client_for: ClientFactory) -> None:
    assert client_for(HUB).send("GET", "/v2/", Host="example.com").status == 421


def test_each_host_has_a_certificate_with_its_name(aws: LoopbackAws) -> None:
    context = aws.authority.client_context()
    for host in (HUB, "prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com"):
        with socket.create_connection(("127.0.0.1", aws.proxy.port), 60) as client:
            client.sendall(f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            with context.wrap_socket(client, server_hostname=host) as secured:
                names = secured.getpeercert() or {}
                assert ("DNS", host) in names["subjectAltName"]
