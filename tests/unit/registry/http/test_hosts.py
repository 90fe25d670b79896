from __future__ import annotations

import pytest

from ecr_image_replicator.registry.http.hosts import (
    Schemes,
    api_host,
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
