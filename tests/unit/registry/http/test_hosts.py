from __future__ import annotations

import pytest

from ecr_image_replicator.registry.http.hosts import (
    Schemes,
    api_host,
)


def test_the_api_host_of_docker_hub_is_registry_1() -> None:
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
def test_only_configured_and_loopback_hosts_may_use_plain_http(
    host: str, schemes: tuple[str, ...]
) -> None:
    assert Schemes(["Plain.example ", "port.example:5000", ""]).candidates(host) == schemes


def test_the_scheme_of_a_loopback_host_is_remembered() -> None:
    schemes = Schemes()
    schemes.learn("localhost:5000", "http")
    assert schemes.candidates("localhost:5000") == ("http",)
    assert schemes.candidates("localhost:5001") == ("https", "http")


def test_plain_http_is_not_remembered_for_other_hosts() -> None:
    schemes = Schemes()
    schemes.learn("quay.io", "http")
    assert schemes.candidates("quay.io") == ("https",)
