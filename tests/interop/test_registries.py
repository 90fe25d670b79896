from __future__ import annotations

import hashlib
import http.client
import json
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme
from tests.interop.registries import (
    PASSWORD,
    USER,
    AccessLogEntry,
    DockerRegistry,
    skopeo_copy,
    skopeo_inspect_raw,
)
from tests.programs import find_program


def _get(registry: DockerRegistry, path: str) -> int:
    connection = http.client.HTTPConnection(registry.host, timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


@pytest.fixture
def layout(tmp_path: Path) -> str:
    """An OCI layout of one image without layers, with its name in skopeo's syntax."""
    directory = tmp_path / "layout"
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def store(content: object, media_type: str) -> dict[str, object]:
        data = json.dumps(content).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    config = store(
        {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}},
        "application/vnd.oci.image.config.v1+json",
    )
    media_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": []}
    named = {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
    index = {"schemaVersion": 2, "manifests": [store(manifest, media_type) | named]}
    (directory / "index.json").write_text(json.dumps(index))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"oci:{directory}:latest"


def test_a_pushed_manifest_is_pulled_unchanged(layout: str) -> None:
    with DockerRegistry() as registry:
        skopeo_copy(layout, f"docker://{registry.host}/team/app:1")
        pushed = skopeo_inspect_raw(f"docker://{registry.host}/team/app:1")
    assert pushed == skopeo_inspect_raw(layout)


def test_each_request_is_logged_with_its_query() -> None:
    with DockerRegistry() as registry:
        assert _get(registry, "/v2/_catalog?n=5") == 200
        assert _get(registry, "/v2/none/tags/list") == 404
        assert registry.requests == [
            AccessLogEntry("GET", "/v2/_catalog", "n=5", 200),
            AccessLogEntry("GET", "/v2/none/tags/list", "", 404),
        ]


def test_a_new_registry_has_no_requests() -> None:
    with DockerRegistry() as registry:
        assert registry.requests == []


def test_cleared_requests_are_not_counted_again() -> None:
    with DockerRegistry() as registry:
        _get(registry, "/v2/")
        registry.clear_requests()
        assert registry.requests == []
        _get(registry, "/v2/_catalog")
        assert [entry.path for entry in registry.requests] == ["/v2/_catalog"]


def test_a_manifest_can_be_deleted(layout: str) -> None:
    with DockerRegistry() as registry:
        reference = f"docker://{registry.host}/team/app:1"
        skopeo_copy(layout, reference)
        subprocess.run(
            [find_program("skopeo"), "delete", "--tls-verify=false", reference], check=True
        )
        with pytest.raises(subprocess.CalledProcessError) as raised:
            skopeo_inspect_raw(reference)
    assert b"manifest unknown" in raised.value.stderr


def test_a_registry_with_a_login_requires_the_password(layout: str) -> None:
    with DockerRegistry(login=True) as registry:
        reference = f"docker://{registry.host}/team/app:1"
        with pytest.raises(subprocess.CalledProcessError) as raised:
            skopeo_copy(layout, reference)
        assert b"authentication required" in raised.value.stderr
        skopeo_copy(layout, reference, f"--dest-creds={USER}:{PASSWORD}")
        skopeo_inspect_raw(reference, f"--creds={USER}:{PASSWORD}")


def test_a_registry_with_a_certificate_serves_tls_and_logs_requests(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    issued.private_key_pem.write_to_path(str(key))
    for each in issued.cert_chain_pems:
        each.write_to_path(str(certificate), append=True)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with DockerRegistry(certificate=certificate, key=key) as registry:
        connection = http.client.HTTPSConnection(registry.host, timeout=60, context=context)
        connection.request("GET", "/v2/")
        assert connection.getresponse().status == 200
        connection.close()
        assert registry.requests == [AccessLogEntry("GET", "/v2/", "", 200)]


def test_a_missing_program_skips_here_and_fails_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install no-such-program"):
        find_program("no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install no-such-program"):
        find_program("no-such-program")
