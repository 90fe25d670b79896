from __future__ import annotations

import pytest

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.registry.http.proxies import Proxy, find_proxy
from ecr_image_replicator.registry.http.urls import parse_url


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("entry", "hosts", "others"),
    [
        ("*", ["a.example", "10.0.0.1", "[fd00::1]"], []),
        ("example.com", ["example.com", "a.example.com", "EXAMPLE.com."], ["notexample.com"]),
        (".example.com", ["a.example.com", "a.b.example.com"], ["notexample.com", "example.org"]),
        ("*.example.com", ["a.example.com", "a.b.example.com"], ["notexample.com", "example.org"]),
        ("Example.COM.", ["example.com", "a.example.com"], ["example.org"]),
        ("example.com:8443", ["example.com:8443"], ["example.com", "example.com:443"]),
        ("a.io, b.io c.io", ["a.io", "b.io", "c.io"], ["d.io"]),
        (",,", [], ["a.io"]),
        (".", [], ["a.io"]),
        ("*.", [], ["a.io"]),
        ("10.1.2.3", ["10.1.2.3", "10.66051"], ["10.1.2.4", "a10.1.2.3.example"]),
        ("10.1.2.3:5000", ["10.1.2.3:5000"], ["10.1.2.3"]),
        ("10.1.0.0/16", ["10.1.2.3", "10.1.2.3:5000"], ["10.2.0.1", "[fd00::1]"]),
        ("10.1.2.3/16", ["10.1.9.9"], ["10.2.0.1"]),
        ("fd00::/8", ["[fd00::1]", "[fdff::1]:5000"], ["[fe00::1]", "10.0.0.1"]),
        ("[fd00::]/8", ["[fd00::1]"], ["[fe00::1]"]),
        ("fd00::1", ["[fd00::1]", "[fd00:0:0::1]:5000"], ["[fd00::2]"]),
        ("[fd00::1]:5000", ["[fd00::1]:5000"], ["[fd00::1]"]),
        ("10.0.0.0/99", [], ["10.0.0.1"]),
        ("example.com:port", [], ["example.com"]),
    ],
)
def test_no_proxy_matches_hosts_domains_addresses_and_cidr_blocks(
    monkeypatch: pytest.MonkeyPatch, entry: str, hosts: list[str], others: list[str]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", entry)
    for host in hosts:
        assert find_proxy(parse_url(f"https://{host}/")) is None, host
    for host in others:
        assert str(find_proxy(parse_url(f"https://{host}/"))) == "proxy.example:3128", host


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/",
        "https://localhost.:5000/",
        "https://a.localhost/",
        "https://127.0.0.1:5000/",
        "https://127.9.9.9/",
        "https://2130706433/",
        "https://[::1]:5000/",
        "https://[::ffff:127.0.0.1]/",
    ],
)
def test_loopback_hosts_never_go_through_a_proxy(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    assert find_proxy(parse_url(url)) is None


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "https://a.io/", "None"),
        ({"HTTPS_PROXY": "p.io:1"}, "https://a.io/", "p.io:1"),
        ({"HTTPS_PROXY": "p.io:1"}, "http://a.io/", "None"),
        ({"HTTP_PROXY": "p.io"}, "http://a.io/", "p.io:80"),
        ({"ALL_PROXY": "https://p.io"}, "http://a.io/", "p.io:443"),
        ({"ALL_PROXY": "p.io:1", "HTTPS_PROXY": "p.io:2"}, "https://a.io/", "p.io:2"),
        ({"HTTPS_PROXY": "p.io:1", "https_proxy": "p.io:2"}, "https://a.io/", "p.io:2"),
        ({"HTTPS_PROXY": "p.io:1", "NO_PROXY": "a.io"}, "https://a.io/", "None"),
        ({"HTTPS_PROXY": "p.io:1", "NO_PROXY": "a.io", "no_proxy": "b"}, "https://a.io/", "p.io:1"),
        ({"HTTPS_PROXY": "socks5://p.io:1"}, "http://a.io/", "None"),
        ({"HTTPS_PROXY": "socks5://p.io:1", "NO_PROXY": "a.io"}, "https://a.io/", "None"),
    ],
)  # fmt: skip
def test_each_scheme_has_its_proxy_variable(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str, proxy: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(find_proxy(parse_url(url))) == proxy


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("HTTPS_PROXY", "socks5://ann:sesame@p.io:1", "SOCKS proxies are not supported"),
        ("https_proxy", "SOCKS5h://p.io:1", "SOCKS proxies are not supported"),
        ("ALL_PROXY", "socks4://p.io:1", "SOCKS proxies are not supported"),
        ("HTTPS_PROXY", "http://", "the value is not http://host:port"),
        ("HTTPS_PROXY", "http://ann:sesame@p.io:port", "the value is not http://host:port"),
        ("HTTPS_PROXY", "ftp://p.io", "the value is not http://host:port"),
    ],
)
def test_an_invalid_proxy_is_an_error_and_no_direct_connection(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(RequestError) as raised:
        find_proxy(parse_url("https://a.io/"))
    assert str(raised.value) == f"invalid {variable.upper()}: {reason}"


def test_proxy_credentials_are_decoded_and_not_shown() -> None:
    proxy = Proxy.parse("http://ann:open%40sesame@p.io:3128", "HTTPS_PROXY")
    assert proxy.has_login
    assert proxy.headers == {"Proxy-Authorization": "Basic YW5uOm9wZW5Ac2VzYW1l"}
    assert "sesame" not in f"{proxy} {proxy!r}"


def test_a_proxy_without_credentials_has_no_authorization_header() -> None:
    proxy = Proxy.parse("p.io:3128", "HTTPS_PROXY")
    assert not proxy.has_login
    assert proxy.headers == {}
