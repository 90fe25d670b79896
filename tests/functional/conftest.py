"""Fixtures of the functional tests: the function, registries, AWS, S3 and CloudFormation."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from local.aws import LoopbackAws
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.dockerhub import HubUser
from local.objects import ObjectStorage
from local.registry import RegistryServer

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

#: Environment variables that would direct connections away from loopback.
_OTHER_NETWORKS = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PLACEHOLDER = "http://pre-signed-S3-url-for-response"


class FakeContext:
    """A Lambda context with a chosen remaining time."""

    function_name = "replicator"
    log_stream_name = "2026/01/01/[$LATEST]0123456789abcdef"

    def __init__(self, seconds: float = 300.0) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._until - time.monotonic()) * 1000)


@dataclasses.dataclass(frozen=True, slots=True)
class Function:
    """The handler without its entry point, in this process. It stays warm between events."""

    resource: ReplicationResource

    def send(self, event: dict[str, Any], seconds: float = 300.0) -> dict[str, Any]:
        return self.resource.respond(event, FakeContext(seconds))

    def create(self, source: str, destination: str, **properties: Any) -> dict[str, Any]:
        """Send a Create without a response URL and return the response."""
        named = {"SrcImage": source, "DestImage": destination, **properties}
        return self.send({"RequestType": "Create", "ResourceProperties": named})

    def update(
        self,
        physical_id: str,
        source: str,
        destination: str,
        old_source: str | None = None,
        **properties: Any,
    ) -> dict[str, Any]:
        """Send an Update of a resource whose previous source is `old_source`, or the same."""
        named = {"SrcImage": source, "DestImage": destination, **properties}
        old = {**named, "SrcImage": source if old_source is None else old_source}
        return self.send(
            {
                "RequestType": "Update",
                "PhysicalResourceId": physical_id,
                "OldResourceProperties": old,
                "ResourceProperties": named,
            }
        )

    def delete(self, physical_id: str, destination: str, **properties: Any) -> dict[str, Any]:
        """Send a Delete with the properties of the resource's last version."""
        named = {"SrcImage": "a/b:1", "DestImage": destination, **properties}
        return self.send(
            {
                "RequestType": "Delete",
                "PhysicalResourceId": physical_id,
                "ResourceProperties": named,
            }
        )


@pytest.fixture
def function() -> Iterator[Function]:
    replicator = Replicator(Settings(propagation_seconds=0))
    yield Function(ReplicationResource(lambda: replicator))
    replicator.close()


@pytest.fixture
def new_function() -> Iterator[Callable[[], Function]]:
    """Start functions with empty caches."""
    started: list[Replicator] = []

    def start() -> Function:
        replicator = Replicator(Settings(propagation_seconds=0))
        started.append(replicator)
        return Function(ReplicationResource(lambda: replicator))

    yield start
    for replicator in started:
        replicator.close()


@pytest.fixture
def registries() -> Iterator[Callable[..., RegistryServer]]:
    """Start registries that stop when the test ends."""
    started: list[RegistryServer] = []

    def start(**options: Any) -> RegistryServer:
        started.append(RegistryServer(**options).start())
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def cloudformation(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., CloudFormationEndpoint]]:
    """Start endpoints for responses. The function trusts their certificates."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    monkeypatch.setenv("RESPONSE_HOSTS", "localhost")
    started: list[CloudFormationEndpoint] = []

    def start(**options: Any) -> CloudFormationEndpoint:
        endpoint = CloudFormationEndpoint(authority.server_context(), **options)
        started.append(endpoint.__enter__())
        return endpoint

    yield start
    for endpoint in started:
        endpoint.__exit__(None, None, None)


@pytest.fixture
def aws_clock() -> Callable[[], float]:
    """The clock of `aws`; modules replace it."""
    return time.time


@pytest.fixture
def aws(
    authority: CertificateAuthority,
    monkeypatch: pytest.MonkeyPatch,
    aws_clock: Callable[[], float],
) -> Iterator[LoopbackAws]:
    """AWS and Docker Hub under their real names, set in this process's environment."""
    users = {"ann": HubUser("hunter2")}
    for name in _OTHER_NETWORKS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with LoopbackAws(authority=authority, hub_users=users, clock=aws_clock) as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        yield cloud


@pytest.fixture
def aws_function(aws: LoopbackAws) -> Iterator[Function]:  # noqa: ARG001 - sets the environment
    """The handler, created after the environment of `aws` is set."""
    replicator = Replicator(Settings(propagation_seconds=0))
    yield Function(ReplicationResource(lambda: replicator))
    replicator.close()


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStorage]:
    """An S3 bucket ``archives``. AWS_ENDPOINT_URL_S3 directs the function to it."""
    with ObjectStorage() as started:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", started.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_CONFIG_FILE", "none")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
        yield started
