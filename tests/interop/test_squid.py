"""Copies through Debian's squid, with and without proxy authentication."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from local.certificates import CertificateAuthority
from local.images import Image, build_image, build_layer
from local.ports import reserved_port
from local.registry import RegistryServer
from tests.waiting import wait_until

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
        """Return the methods of complete log lines. Squid logs a tunnel when it is closed."""
        lines = self.log.read_text().splitlines(keepends=True)
        return {line.split()[5].strip('"') for line in lines if line.endswith("\n")}


@pytest.fixture
def squid_port() -> Iterator[int]:
    with reserved_port() as port:
        yield port


@pytest.fixture(params=["", _LOGIN])
def squid(request: pytest.FixtureRequest, squid_port: int) -> Iterator[Squid]:
    program = shutil.which("squid", path=f"{os.environ['PATH']}:/usr/sbin")
    helper = Path("/usr/lib/squid/basic_ncsa_auth")
    if program is None or not helper.exists():
        if os.environ.get("CI"):
            pytest.fail("squid is not installed")
        pytest.skip("squid is not installed")
    # started as root, squid runs as a user who cannot read the folders of pytest
    folder = Path(tempfile.mkdtemp(prefix="squid-"))
    folder.chmod(0o777)
    host = f"127.0.0.1:{squid_port}"
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
    for file in folder.iterdir():
        file.chmod(0o644)  # with any umask
    process = subprocess.Popen(
        # -n names the shared memory, which allows several processes
        [program, "-N", "-n", f"test{os.getpid()}", "-f", str(configuration)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(
            lambda: process.poll() is not None or _listens(squid_port),
            lambda: f"squid does not listen: {_read(folder / 'cache.log')}",
        )
        assert process.poll() is None, f"squid has ended: {_read(folder / 'cache.log')}"
        login = f"{request.param}@" if request.param else ""
        yield Squid(f"{login}{host}", folder / "access.log")
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _read(log: Path) -> str:
    return log.read_text(errors="replace") if log.exists() else "it has no log"


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
    wait_until(
        lambda: {"CONNECT", "PUT"} <= squid.methods(),
        lambda: f"squid has not logged CONNECT and PUT:\n{squid.log.read_text()}",
    )


@pytest.mark.parametrize("squid", [_LOGIN], indirect=True)
def test_squid_rejects_invalid_proxy_credentials(
    squid: Squid, source: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = squid.host.rpartition("@")[2]
    for login, found in (("", "requires a login"), ("ann:wrong@", "rejected its login")):
        monkeypatch.setenv("HTTPS_PROXY", f"http://{login}{host}")
        with (
            RegistryServer() as destination,
            pytest.raises(UnavailableError, match=f"proxy {host} {found}"),
        ):
            _copy(f"registry.example:{_port(source)}/app:1", f"{destination.host}/copy:1")
