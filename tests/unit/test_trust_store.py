from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import certifi
import pytest
from local.certificates import CertificateAuthority

from ecr_image_replicator.registry.http.pools import ClientContext
from ecr_image_replicator.trust_store import (
    VARIABLES,
    TrustStore,
    UnreadableTrustStoreError,
    find_trust_store,
    response_context,
    shared_context,
)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_the_first_variable_that_is_set_determines_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert find_trust_store().path == certifi.where()
    for number, variable in enumerate(reversed(VARIABLES)):
        monkeypatch.setenv(variable, f"/bundle-{number}.pem")
        store = find_trust_store()
        assert (store.path, store.variable) == (f"/bundle-{number}.pem", variable)
    monkeypatch.setenv(VARIABLES[0], "")
    assert find_trust_store().variable == VARIABLES[1]


def test_the_default_store_uses_strict_verification() -> None:
    context = shared_context()
    assert context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert context.check_hostname
    assert context.cert_store_stats()["x509_ca"] > 100


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_configured_store_replaces_the_default_without_strict_verification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    authority = CertificateAuthority(tmp_path)
    monkeypatch.setenv(variable, str(authority.ca_file))
    for context in (shared_context(), response_context()):
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.cert_store_stats()["x509_ca"] == 1


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_store_may_be_a_directory_with_hashed_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    authority = CertificateAuthority(tmp_path)
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)
    monkeypatch.setenv(variable, str(tmp_path))
    client, server = shared_context(), authority.server_context()
    _shake_hands(client, server)


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """Make a TLS handshake in memory."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while sides:
        for side in list(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            sides.remove(side)


def test_registries_and_the_response_share_one_context(monkeypatch: pytest.MonkeyPatch) -> None:
    context = shared_context(ClientContext)
    monkeypatch.setattr(TrustStore, "load_into", None)
    assert shared_context(ClientContext) is context
    assert response_context(ClientContext) is context


@pytest.mark.parametrize(("content", "reason"), [(None, "no such file"), ("x", "not in PEM form")])
def test_the_error_names_an_unreadable_store_and_the_response_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, reason: str
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with pytest.raises(UnreadableTrustStoreError, match=f"{bundle} in SSL_CERT_FILE: {reason}"):
        shared_context()
    assert response_context().cert_store_stats()["x509_ca"] > 100
