from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecr_image_replicator.registry.http.hosts import (
    Schemes,
    api_host,
    is_private,
    origin,
    resolve_url,
    shown_url,
)


def test_docker_hubs_api_has_a_host_of_its_own() -> None:
    assert api_host("docker.io") == "registry-1.docker.io"
    assert api_host("quay.io") == "quay.io"


@pytest.mark.parametrize(
    ("host", "schemes"),
    [
        ("quay.io", ("https",)),
        ("10.0.0.1:5000", ("https",)),
        ("localhost.example.com", ("https",)),
        ("localhost:5000", ("https", "http")),
        ("127.0.0.1:5000", ("https", "http")),
        ("[::1]:5000", ("https", "http")),
        ("plain.example", ("http",)),
        ("plain.example:8080", ("http",)),
        ("port.example:5000", ("http",)),
        ("port.example", ("https",)),
        ("port.example:5001", ("https",)),
        ("not-plain.example", ("https",)),
    ],
)
def test_only_named_and_loopback_hosts_are_spoken_to_without_tls(
    host: str, schemes: tuple[str, ...]
) -> None:
    assert Schemes(["Plain.example ", "port.example:5000", ""]).candidates(host) == schemes


def test_a_loopback_hosts_scheme_is_learned() -> None:
    schemes = Schemes()
    schemes.learn("localhost:5000", "http")
    assert schemes.candidates("localhost:5000") == ("http",)
    assert schemes.candidates("localhost:5001") == ("https", "http")


def test_another_host_is_never_learned_to_be_plain() -> None:
    schemes = Schemes()
    schemes.learn("quay.io", "http")
    assert schemes.candidates("quay.io") == ("https",)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.io/x", "https://A.io:443/y?z", True),
        ("http://a.io", "http://a.io:80/", True),
        ("https://a.io", "http://a.io", False),
        ("https://a.io", "https://a.io:8443", False),
        ("https://a.io", "https://b.a.io", False),
        ("https://a.io", "https://a.io@b.io", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert (origin(one) == origin(other)) is same


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://quay.io/x", False),
        ("https://8.8.8.8/", False),
        ("https://localhost/", True),
        ("https://metadata.google.internal/", True),
        ("https://printer.local/", True),
        ("http://169.254.169.254/latest/meta-data", True),
        ("https://10.1.2.3/", True),
        ("https://192.168.0.1:8080/", True),
        ("https://[::1]/", True),
        ("https://[::ffff:127.0.0.1]/", True),
        ("https://[fe80::1]/", True),
    ],
)
def test_an_address_that_the_internet_cannot_reach_is_private(url: str, expected: bool) -> None:
    assert is_private(url) is expected


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/v2/x", "https://a.io/v2/x"),
        ("?b", "https://a.io/v2/?b"),
        ("//b.io/c", "https://b.io/c"),
        ("http://b.io:8080/c?d=e", "http://b.io:8080/c?d=e"),
        ("ftp://b.io/", None),
        ("file:///etc/passwd", None),
        ("https:///x", "https://a.io/x"),
        ("https://[::1", None),
        ("https://b.io:99999/", None),
        ("https://b.io:port/", None),
        ("https://b.io:0/", None),
    ],
)
def test_a_location_leads_somewhere_sensible_or_nowhere(location: str, url: str | None) -> None:
    assert resolve_url("https://a.io/v2/", location) == url


@given(st.text() | st.text(alphabet="https:/[]@.%#?0123456789ab"))
def test_whatever_a_server_gives_as_a_location_can_be_looked_at(location: str) -> None:
    url = resolve_url("https://a.io/", location)
    if url is not None:
        assert origin(url)[0] in {"http", "https"}
        is_private(url)
        shown_url(url)


def test_a_url_is_shown_without_its_secrets() -> None:
    assert (
        shown_url("https://user:hunter2@a.io:8443/b?signature=hunter2#c") == "https://a.io:8443/b"
    )
    assert shown_url("http://[::1]:5000/b?c") == "http://[::1]:5000/b"
