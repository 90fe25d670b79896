"""Fixtures of the tests of registry quirks."""

from __future__ import annotations

import pytest
from local.certificates import CertificateAuthority
from local.images import Image, build_image, build_layer, place
from local.registry import (
    RegistryServer,
)
from tests.functional.quirks.replicating import Start


@pytest.fixture
def image() -> Image:
    return build_image([build_layer(300_000, seed=seed) for seed in range(2)])


@pytest.fixture
def source(registries: Start, image: Image) -> RegistryServer:
    started = registries()
    place(image, started.store, "team/app", "1")
    return started


@pytest.fixture
def trusted(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> CertificateAuthority:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    return authority
