from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local.aws import LoopbackAws
from local.certificates import CertificateAuthority
from local.dockerhub import HubUser
from local.registry import RegistryServer
from tests.local.ecr_api import checked
from tests.local.wire_client import FakeClock, WireClient

_DOCKER_REGISTRY_CONFIGURATION = """\
version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {directory}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        yield server


@pytest.fixture
def connect() -> Iterator[Callable[[RegistryServer], WireClient]]:
    clients: list[WireClient] = []

    def open_client(server: RegistryServer) -> WireClient:
        clients.append(WireClient(server))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


@pytest.fixture
def client(registry: RegistryServer, connect: Callable[[RegistryServer], WireClient]) -> WireClient:
    return connect(registry)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def aws(authority: CertificateAuthority, clock: FakeClock) -> Iterator[LoopbackAws]:
    users = {"ann": HubUser("hub-password", 3), "paid": HubUser("paid-password", None)}
    with LoopbackAws(authority=authority, hub_users=users, clock=clock) as started:
        yield started


@pytest.fixture
def client_for(aws: LoopbackAws) -> Iterator[Callable[[str], WireClient]]:
    """Open a connection to a host's real name, through the proxy."""
    clients: list[WireClient] = []

    def open_client(host: str) -> WireClient:
        clients.append(WireClient.through_proxy(aws, host))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def skopeo(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    program = _installed("skopeo")
    home = tmp_path_factory.mktemp("skopeo")

    def run(*arguments: str, **environment: str) -> str:
        own = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
        finished = subprocess.run(
            [program, "--insecure-policy", *arguments],
            env=own | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    return run


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host of Debian's docker-registry, which implements Docker's protocol, not OCI 1.1."""
    program = _installed("docker-registry")
    directory = tmp_path_factory.mktemp("docker-registry")
    port = _free_port()
    configuration = directory / "config.yml"
    configuration.write_text(
        _DOCKER_REGISTRY_CONFIGURATION.format(directory=directory / "data", port=port)
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(configuration)], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait_until_it_serves(process, port, directory / "log")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _installed(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        message = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return program


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_until_it_serves(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", "/v2/")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    pytest.fail(f"docker-registry does not answer: {log.read_text()}")


@pytest.fixture
def ecr(aws: LoopbackAws) -> Any:
    return checked(aws.client("ecr"))
