"""Proxies that do not open a tunnel: what is said of them, and how often they are asked."""

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
    """A proxy that knows no host; registries on loopback are reached without it."""
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ConnectProxy(lambda *_: None) as started:
        yield started


_LOGIN_ADVICE = "give it as user:password@ before the proxy's host in HTTPS_PROXY"
_HOST_ADVICE = "let it be reached through the proxy, or name it in NO_PROXY"


@pytest.mark.parametrize(
    ("status", "login", "words"),
    [
        (407, "", f"wants a login (407); {_LOGIN_ADVICE}"),
        (407, "ann:hunter2@", f"does not take its login (407); {_LOGIN_ADVICE}"),
        (403, "ann:hunter2@", f"refused to connect to it (403); {_HOST_ADVICE}"),
        (302, "", f"refused to connect to it (302); {_HOST_ADVICE}"),
    ],
)
def test_a_proxy_that_refuses_is_asked_once_and_named_without_its_login(
    proxy: ConnectProxy,
    function: Function,
    registries: Callable[..., RegistryServer],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    login: str,
    words: str,
) -> None:
    shown = proxy.url.removeprefix("http://")
    monkeypatch.setenv("HTTPS_PROXY", f"http://{login}{shown}")
    proxy.error_from_response = status

    answer = function.create("quay.io/team/app:1", f"{registries().host}/app:1")

    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith(
        f"the source quay.io cannot be spoken to: the proxy {shown} {words}. Log stream"
    )
    assert proxy.tunnels == (Tunnel("quay.io", 443, status),)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_proxy_in_trouble_is_asked_again(
    proxy: ConnectProxy,
    function: Function,
    registries: Callable[..., RegistryServer],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    shown = proxy.url.removeprefix("http://")
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:hunter2@{shown}")
    proxy.error_from_response = status

    retries = {"numAttempts": 3, "baseDelay": 0}
    answer = function.create(
        "quay.io/team/app:1", f"{registries().host}/app:1", RetryConfigs=retries
    )

    assert answer["Reason"].startswith(
        f"the source quay.io cannot be spoken to: the proxy {shown} refused to connect to it "
        f"({status}); it was tried 3 times, see RetryConfigs. Log stream"
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
    answer = function.create(
        "quay.io/team/app:1", f"{registries().host}/app:1", RetryConfigs=retries
    )

    assert answer["Reason"].startswith(
        f"the source quay.io cannot be spoken to: the proxy {shown} cannot be reached: connection "
        "refused; it was tried 2 times, see RetryConfigs. Log stream"
    )


@pytest.mark.parametrize(
    ("is_tls", "why"),
    [(True, "its certificate is not trusted"), (False, "TLS failed (")],
)
def test_a_proxy_whose_tls_fails_is_named_and_not_the_registry(
    function: Function,
    registries: Callable[..., RegistryServer],
    monkeypatch: pytest.MonkeyPatch,
    proxy: ConnectProxy,
    tmp_path: Path,
    is_tls: bool,
    why: str,
) -> None:
    unknown = CertificateAuthority(tmp_path).server_context()
    with LoopbackServer(lambda _: Response(200), tls=unknown if is_tls else None) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"https://{server.host}")

        retries = {"numAttempts": 1, "baseDelay": 0}
        answer = function.create(
            "quay.io/team/app:1", f"{registries().host}/app:1", RetryConfigs=retries
        )

    assert answer["Reason"].startswith(
        f"the source quay.io cannot be spoken to: the proxy {server.host} cannot be reached: {why}"
    )
    assert proxy.tunnels == ()


def test_a_proxy_that_refuses_the_way_to_aws_is_named_too(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.proxy.error_from_response = 407

    retries = {"numAttempts": 1, "baseDelay": 0}
    host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    answer = aws_function.create(f"{host}/a:1", f"{host}/b:1", RetryConfigs=retries)

    assert "failed: cannot connect to the proxy" in answer["Reason"]
    assert {tunnel.host for tunnel in aws.tunnels} == {"api.ecr.eu-west-1.amazonaws.com"}
