from __future__ import annotations

import socket

import pytest
from local.certificates import CertificateAuthority
from local.proxy import ConnectProxy
from local.web import LoopbackServer, Response

from replicator.errors import Side
from replicator.registry.messages import HttpRequest
from replicator.registry.session import Session


@pytest.mark.parametrize("is_proxied", [False, True])
def test_no_body_waits_for_the_acknowledgement_of_its_head(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, is_proxied: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "ALL_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with (
        LoopbackServer(lambda _: Response(200), tls=authority.server_context()) as server,
        ConnectProxy(lambda _, port: port) as proxy,
    ):
        if is_proxied:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        session = Session(connections=1)
        request = HttpRequest("GET", f"https://localhost:{server.host.rpartition(':')[2]}/")
        session.send(request, side=Side.SOURCE, timeout_seconds=5).read(10)
        assert _kept_socket(session).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        session.close()
        assert len(proxy.tunnels) == is_proxied


def _kept_socket(session: Session) -> socket.socket:
    adapter = session._requests.get_adapter("https://")  # noqa: SLF001 - nothing else has it
    managers = [adapter.poolmanager, *adapter.proxy_manager.values()]  # type: ignore[attr-defined]
    [pool] = [manager.pools[key] for manager in managers for key in manager.pools.keys()]  # noqa: SIM118 - it is no dict
    kept: socket.socket = pool.pool.queue[-1].sock
    return kept
