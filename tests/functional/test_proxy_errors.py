"""Errors of proxies: messages and number of attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local.aws import LoopbackAws
from local.certificates import CertificateAuthority
from local.proxy import ConnectProxy, Tunnel
from local.registry import RegistryServer
from local.web import LoopbackServer, Response
from tests.functional.conftest import Function


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectProxy]:
    """A proxy that rejects every host. Connections to loopback do not use it."""
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with ConnectProxy(lambda *_: None) as started:
        yield started


_407 = "407 Proxy Authentication Required"
_LOGIN_HINT = "Write it as user:password@ before the proxy's host in HTTPS_PROXY."
_HOST_HINT = "Allow the host in the proxy, or name it in NO_PROXY."


@pytest.mark.parametrize(
    ("status", "login", "text"),
    [
        (407, "", f"requires a login ({_407}). {_LOGIN_HINT}"),
        (
            407,
            "ann:hunter2@",
            f"rejected its login ({_407}). {_LOGIN_HINT}",
        ),
        (403, "ann:hunter2@", f"refused the connection (403 Forbidden). {_HOST_HINT}"),
        (302, "", f"refused the connection (302 Found). {_HOST_HINT}"),
    ],
)
def test_a_4xx_of_a_proxy_is_not_retried_and_reported_without_its_login(
    proxy: ConnectProxy,
    function: Function,
    registries: Callable[..., RegistryServer],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    login: str,
    text: str,
) -> None:
    address = proxy.url.removeprefix("http://")
    monkeypatch.setenv("HTTPS_PROXY", f"http://{login}{address}")
    proxy.rejection = status

    response = function.create("quay.io/team/app:1", f"{registries().host}/app:1")

    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith(f"cannot connect to quay.io: proxy {address} {text}")
    assert proxy.tunnels == (Tunnel("quay.io", 443, status),)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_5xx_of_a_proxy_is_retried(
    proxy: ConnectProxy,
    function: Function,
    registries: Callable[..., RegistryServer],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    address = proxy.url.removeprefix("http://")
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:hunter2@{address}")
    proxy.rejection = status

    retries = {"numAttempts": 3, "baseDelay": 0}
    response = function.create(
        "quay.io/team/app:1", f"{registries().host}/app:1", RetryConfigs=retries
    )

    assert response["Reason"].startswith(
        f"cannot connect to quay.io: proxy {address} refused the connection ({status} "
    )
    assert proxy.tunnels == (Tunnel("quay.io", 443, status),) * 3


def test_the_message_names_an_unreachable_proxy(
    proxy: ConnectProxy,
    function: Function,
    registries: Callable[..., RegistryServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = proxy.url.removeprefix("http://")
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:hunter2@{address}")
    proxy.close()

    retries = {"numAttempts": 2, "baseDelay": 0}
    response = function.create(
        "quay.io/team/app:1", f"{registries().host}/app:1", RetryConfigs=retries
    )

    assert response["Reason"].startswith(
        f"cannot connect to quay.io through proxy {address}: connection refused"
    )


@pytest.mark.parametrize(
    ("has_tls", "why"),
    [(True, "certificate verification failed"), (False, "TLS failed (")],
)
def test_the_message_for_a_tls_error_of_a_proxy_names_the_proxy(
    function: Function,
    registries: Callable[..., RegistryServer],
    monkeypatch: pytest.MonkeyPatch,
    proxy: ConnectProxy,
    tmp_path: Path,
    has_tls: bool,
    why: str,
) -> None:
    unknown = CertificateAuthority(tmp_path).server_context()
    with LoopbackServer(lambda _: Response(200), tls=unknown if has_tls else None) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"https://{server.host}")

        retries = {"numAttempts": 1, "baseDelay": 0}
        response = function.create(
            "quay.io/team/app:1", f"{registries().host}/app:1", RetryConfigs=retries
        )

    assert response["Reason"].startswith(
        f"cannot connect to quay.io through proxy {server.host}: {why}"
    )
    assert proxy.tunnels == ()


def test_a_407_of_a_proxy_for_an_aws_call_is_reported(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.proxy.rejection = 407

    retries = {"numAttempts": 1, "baseDelay": 0}
    host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    response = aws_function.create(f"{host}/a:1", f"{host}/b:1", RetryConfigs=retries)

    assert "cannot connect to the proxy" in response["Reason"]
    assert {tunnel.host for tunnel in aws.tunnels} == {"api.ecr.eu-west-1.amazonaws.com"}
