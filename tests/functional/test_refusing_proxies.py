"""Proxies that refuse or cannot be reached: error messages and numbers of attempts."""

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
    """A proxy that refuses every host; registries on loopback are reached directly."""
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
def test_a_refusal_of_a_proxy_is_final_and_named_without_its_login(
    proxy: ConnectProxy,
    function: Function,
    registries: Callable[..., RegistryServer],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    login: str,
    text: str,
) -> None:
    shown = proxy.url.removeprefix("http://")
    monkeypatch.setenv("HTTPS_PROXY", f"http://{login}{shown}")
    proxy.rejection = status

    response = function.create("quay.io/team/app:1", f"{registries().host}/app:1")

    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith(f"cannot connect to quay.io: proxy {shown} {text}")
    assert proxy.tunnels == (Tunnel("quay.io", 443, status),)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_temporary_failure_of_a_proxy_is_retried(
    proxy: ConnectProxy,
    function: Function,
    registries: Callable[..., RegistryServer],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    shown = proxy.url.removeprefix("http://")
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:hunter2@{shown}")
    proxy.rejection = status

    retries = {"numAttempts": 3, "baseDelay": 0}
    response = function.create(
        "quay.io/team/app:1", f"{registries().host}/app:1", RetryConfigs=retries
    )

    assert response["Reason"].startswith(
        f"cannot connect to quay.io: proxy {shown} refused the connection ({status} "
    )
    assert proxy.tunnels == (Tunnel("quay.io", 443, status),) * 3


def test_a_proxy_that_is_down_is_named(
    proxy: ConnectProxy,
    function: Function,
    registries: Callable[..., RegistryServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = proxy.url.removeprefix("http://")
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:hunter2@{shown}")
    proxy.close()

    retries = {"numAttempts": 2, "baseDelay": 0}
    response = function.create(
        "quay.io/team/app:1", f"{registries().host}/app:1", RetryConfigs=retries
    )

    assert response["Reason"].startswith(
        f"cannot connect to quay.io through proxy {shown}: connection refused"
    )


@pytest.mark.parametrize(
    ("has_tls", "why"),
    [(True, "certificate verification failed"), (False, "TLS failed (")],
)
def test_a_tls_failure_of_a_proxy_is_not_blamed_on_the_registry(
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


def test_a_refusal_of_a_proxy_before_aws_is_named(aws: LoopbackAws, aws_function: Function) -> None:
    aws.proxy.rejection = 407

    retries = {"numAttempts": 1, "baseDelay": 0}
    host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    response = aws_function.create(f"{host}/a:1", f"{host}/b:1", RetryConfigs=retries)

    assert "cannot connect to the proxy" in response["Reason"]
    assert {tunnel.host for tunnel in aws.tunnels} == {"api.ecr.eu-west-1.amazonaws.com"}
