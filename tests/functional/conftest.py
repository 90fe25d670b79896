from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.registry import RegistryServer

from lifecycle import ReplicationResource
from replicator.replication import Replicator
from replicator.settings import Settings

PLACEHOLDER = "http://pre-signed-S3-url-for-response"


class FakeContext:
    """Lambda's context, with as much time as a test wants."""

    function_name = "replicator"
    log_stream_name = "2026/01/01/[$LATEST]0123456789abcdef"

    def __init__(self, seconds: float = 60.0) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._until - time.monotonic()) * 1000)


@dataclasses.dataclass(frozen=True, slots=True)
class Function:
    """The handler less its entry point, in this process, warm from one event to the next."""

    resource: ReplicationResource

    def send(self, event: dict[str, Any], seconds: float = 60.0) -> dict[str, Any]:
        return self.resource.answer(event, FakeContext(seconds))

    def create(self, source: str, destination: str, **properties: Any) -> dict[str, Any]:
        """Replicate as a Create without a response URL does."""
        named = {"SrcImage": source, "DestImage": destination, **properties}
        return self.send({"RequestType": "Create", "ResourceProperties": named})


@pytest.fixture
def function() -> Iterator[Function]:
    replicator = Replicator(Settings())
    yield Function(ReplicationResource(lambda: replicator))
    replicator.close()


@pytest.fixture
def registries() -> Iterator[Callable[..., RegistryServer]]:
    """Start registries that end with the test."""
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
    """Start end points for answers, whose certificates the function trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    started: list[CloudFormationEndpoint] = []

    def start(**options: Any) -> CloudFormationEndpoint:
        endpoint = CloudFormationEndpoint(authority.server_context(), **options)
        started.append(endpoint.__enter__())
        return endpoint

    yield start
    for endpoint in started:
        endpoint.__exit__(None, None, None)
