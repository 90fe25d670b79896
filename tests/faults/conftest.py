from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from local.aws import LoopbackAws
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.images import build_image, build_layer, push
from local.proxy import ConnectProxy
from local.registry import RegistryServer
from tests.docker_registry import running_docker_registry
from tests.faults.fault_proxy import FaultProxy
from tests.faults.fault_scenes import (
    DockerRegistry,
    EcrRegistryByName,
    LocalRegistry,
    Scene,
    scene,
)
from tests.faults.hostile_servers import HostilePair

from ecr_image_replicator.aws.sessions import AwsAccess
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings


@pytest.fixture(scope="session", autouse=True)
def small_trust_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CertificateAuthority]:
    """A trust store with one authority, which loads faster than the system's."""
    authority = CertificateAuthority(tmp_path_factory.mktemp("authority"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"):
            patch.delenv(name, raising=False)
        patch.setenv("SSL_CERT_FILE", str(authority.ca_file))
        patch.setenv("RESPONSE_HOSTS", "localhost")
        yield authority


@pytest.fixture(scope="module")
def endpoint(small_trust_store: CertificateAuthority) -> Iterator[CloudFormationEndpoint]:
    with CloudFormationEndpoint(small_trust_store.server_context()) as opened:
        yield opened


@pytest.fixture(scope="module")
def local_scene() -> Iterator[Scene]:
    with RegistryServer() as server, scene(LocalRegistry(server)) as opened:
        yield opened


@pytest.fixture(scope="module")
def docker_scene(docker_registry: DockerRegistry) -> Iterator[Scene]:
    with scene(docker_registry) as opened:
        yield opened


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """Debian's docker-registry with a storage directory that tests can inspect."""
    directory = tmp_path_factory.mktemp("docker-registry")
    with running_docker_registry(directory) as (host, data):
        yield DockerRegistry(host, data)


@pytest.fixture(scope="module")
def ecr_scene(small_trust_store: CertificateAuthority) -> Iterator[Scene]:
    """ECR with its real host name, TLS, authentication and API. Faults affect only the registry."""
    with (
        # a fast clock: the limit of ten manifests per second would slow the tests down
        LoopbackAws(authority=small_trust_store, clock=lambda: time.time() * 20) as aws,
        pytest.MonkeyPatch.context() as patch,
    ):
        registry = aws.ecr()

        def connect() -> socket.socket:
            target = aws._target(registry.host, 443)  # noqa: SLF001 - bypasses its proxy
            assert target is not None
            plain = socket.create_connection(("127.0.0.1", target), timeout=60)
            context = small_trust_store.client_context()
            return context.wrap_socket(plain, server_hostname=registry.host)

        faulty = FaultProxy(connect, tls=small_trust_store.any_name_context())

        def find_port(host: str, port: int) -> int | None:
            if host == registry.host:
                return int(faulty.host.partition(":")[2])
            return aws._target(host, port)  # noqa: SLF001 - as above

        with faulty, ConnectProxy(find_port) as proxy:
            for name, value in {**aws.environment, "HTTPS_PROXY": proxy.url}.items():
                patch.setenv(name, value)
            # creating boto3's clients takes longer than copying the image
            access = AwsAccess()
            patch.setattr("ecr_image_replicator.aws.sessions.AwsAccess", lambda: access)
            # the same rate on the fast clock
            patch.setattr("ecr_image_replicator.endpoint_factory._ECR_RATE", 9 * 20)
            with scene(EcrRegistryByName(registry), destination=faulty) as opened:
                yield opened


@pytest.fixture
def pair() -> Iterator[HostilePair]:
    with (
        RegistryServer() as source,
        RegistryServer() as destination,
        FaultProxy(source.host) as before_source,
        FaultProxy(destination.host) as before_destination,
    ):
        image = build_image([build_layer(2000)])
        push(image, source.host, "app", "1")
        replicator = Replicator(Settings(streams=2, plain_http=("127.0.0.1",)))
        opened = HostilePair(
            source, destination, before_source, before_destination, image, replicator
        )
        yield opened
        opened.replicator.close()  # a test can have replaced it
        assert not before_source.defects + before_destination.defects
