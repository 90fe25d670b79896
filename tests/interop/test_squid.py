"""Copies through Debian's squid, with and without proxy authentication."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from local.certificates import CertificateAuthority
from local.images import Image, build_image, build_layer
from local.registry import RegistryServer

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import UnavailableError
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings
from ecr_image_replicator.trust_store import VARIABLES

_LOGIN = "ann:open-sesame"


@dataclass
class Squid:
    """A running squid with its access log."""

    host: str
    log: Path

    def methods(self) -> set[str]:
        return {line.split()[5] for line in self.log.read_text().splitlines()}


@pytest.fixture(params=["", _LOGIN])
def squid(request: pytest.FixtureRequest) -> Iterator[Squid]:
    program = shutil.which("squid", path=f"{os.environ['PATH']}:/usr/sbin")
    helper = Path("/usr/lib/squid/basic_ncsa_auth")
    if program is None or not helper.exists():
        if os.environ.get("CI"):
            pytest.fail("squid is not installed")
        pytest.skip("squid is not installed")
    # started as root, squid runs as a user who cannot read the folders of pytest
    folder = Path(tempfile.mkdtemp(prefix="squid-"))
    folder.chmod(0o777)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    (folder / "hosts").write_text("127.0.0.1 registry.example plain.example\n")
    access = ["http_access allow all"]
    if request.param:
        user, _, password = request.param.partition(":")
        digest = subprocess.run(
            ["openssl", "passwd", "-apr1", password], check=True, capture_output=True, text=True
        ).stdout.strip()
        (folder / "passwords").write_text(f"{user}:{digest}\n")
        access = [
            f"auth_param basic program {helper} {folder / 'passwords'}",
            "acl known proxy_auth REQUIRED",
            "http_access allow known",
            "http_access deny all",
        ]
    configuration = folder / "squid.conf"
    configuration.write_text(
        "\n".join(
            [
                f"http_port {host}",
                f"hosts_file {folder / 'hosts'}",
                f"access_log stdio:{folder / 'access.log'}",
                f"cache_log {folder / 'cache.log'}",
                f"pid_filename {folder / 'squid.pid'}",
                f"coredump_dir {folder}",
                "cache deny all",
                "shutdown_lifetime 0 seconds",
                *access,
                "",
            ]
        )
    )
    process = subprocess.Popen(
        # -n names the shared memory, which allows several processes
        [program, "-N", "-n", f"test{os.getpid()}", "-f", str(configuration)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(host)
        login = f"{request.param}@" if request.param else ""
        yield Squid(f"{login}{host}", folder / "access.log")
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder)


def _wait_for(host: str) -> None:
    name, _, port = host.partition(":")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            socket.create_connection((name, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("squid did not start to listen")


@pytest.fixture
def image() -> Image:
    return build_image([build_layer(100_000), build_layer(2000)])


def _port(server: RegistryServer) -> str:
    return server.host.rpartition(":")[2]


def _copy(source: str, destination: str) -> None:
    replicator = Replicator(Settings(plain_http=("plain.example",)))
    request = parse_request(
        {
            "SrcImage": source,
            "DestImage": destination,
            "RetryConfigs": {"numAttempts": 1, "baseDelay": 0},
        }
    )
    try:
        replicator.replicate(request, deadline=Deadline(120), progress=LoggedProgress())
    finally:
        replicator.close()


@pytest.fixture
def source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: Image
) -> Iterator[RegistryServer]:
    """A registry with TLS whose name only squid can resolve."""
    authority = CertificateAuthority(tmp_path)
    for name in (*VARIABLES, "NO_PROXY", "no_proxy", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    with RegistryServer(tls=authority.server_context("registry.example")) as server:
        for content in image.blobs.values():
            server.store.put_blob("app", content)
        server.store.put_manifest("app", "1", image.manifest, image.media_type)
        yield server


def test_an_image_is_copied_through_squid(
    squid: Squid, source: RegistryServer, monkeypatch: pytest.MonkeyPatch, image: Image
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{squid.host}")
    monkeypatch.setenv("HTTP_PROXY", f"http://{squid.host}")
    with RegistryServer() as destination:
        _copy(
            f"registry.example:{_port(source)}/app:1",
            f"plain.example:{_port(destination)}/copy:1",
        )
        assert destination.store.tags("copy") == {"1": image.digest}
    assert {"CONNECT", "PUT"} <= {each.strip('"') for each in squid.methods()}


def test_squid_rejects_invalid_proxy_credentials(
    squid: Squid, source: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "@" not in squid.host:
        pytest.skip("this squid does not require authentication")
    host = squid.host.rpartition("@")[2]
    for login, found in (("", "requires a login"), ("ann:wrong@", "rejected its login")):
        monkeypatch.setenv("HTTPS_PROXY", f"http://{login}{host}")
        with (
            RegistryServer() as destination,
            pytest.raises(UnavailableError, match=f"proxy {host} {found}"),
        ):
            _copy(f"registry.example:{_port(source)}/app:1", f"{destination.host}/copy:1")
