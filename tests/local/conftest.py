from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from local.aws import LoopbackAws
from local.certificates import CertificateAuthority
from local.dockerhub import HubUser
from local.registry import RegistryServer
from tests.docker_registry import running_docker_registry
from tests.local.ecr_api import checked
from tests.local.wire_client import FakeClock, WireClient
from tests.programs import find_program


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
    program = find_program("skopeo")
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
    with running_docker_registry(tmp_path_factory.mktemp("docker-registry")) as (host, _):
        yield host


@pytest.fixture
def ecr(aws: LoopbackAws) -> Any:
    return checked(aws.client("ecr"))
