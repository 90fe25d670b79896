"""Two registries behind fault proxies, and a replication between them with its checks."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from local.cloudformation import CloudFormationEndpoint
from local.ecr import EcrRegistry
from local.images import Content, Index, build_image, build_index, build_layer, push
from local.registry import RegistryServer
from tests.faults.fault_proxy import Exchange, Fault, FaultProxy, pass_on
from tests.faults.lambda_context import LambdaContext
from tests.faults.stalls import declared_stalls

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import ReplicationError
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings

#: Timeouts that are never reached: faults declare their stalls.
_LONG_TIMEOUT_SECONDS = 60.0
_DEADLINE_SECONDS = 120.0
_ENGINE_THREADS = ("stream", "state", "children", "configs", "referrers", "deadline")
Choice = Callable[[Exchange], Fault]
Act = Callable[[Replicator, Mapping[str, Any]], Digest | ReplicationError]


class Registry(Protocol):
    """A registry whose content tests can inspect."""

    @property
    def host(self) -> str: ...

    def put(self, content: Content, repository: str) -> None: ...

    def tag(self, repository: str, tag: str) -> str | None: ...

    def open_uploads(self, repository: str) -> int: ...


@dataclass(frozen=True)
class LocalRegistry:
    server: RegistryServer

    @property
    def host(self) -> str:
        return self.server.host

    def put(self, content: Content, repository: str) -> None:
        push(content, self.host, repository, "1")

    def tag(self, repository: str, tag: str) -> str | None:
        return self.server.store.tags(repository).get(tag)

    def open_uploads(self, repository: str) -> int:
        return sum(each.repository == repository for each in self.server.store.open_uploads)


@dataclass(frozen=True)
class DockerRegistry:
    """Debian's docker-registry, inspected through its files.

    Only upload sessions that can be cancelled are counted. After the first bytes, docker-registry
    accepts only the location in its response to them, and a client whose upload was interrupted
    never receives that response. A cancelled session leaves an empty folder.
    """

    host: str
    directory: Path

    def put(self, content: Content, repository: str) -> None:
        push(content, self.host, repository, "1")

    def tag(self, repository: str, tag: str) -> str | None:
        link = self._path(repository) / f"_manifests/tags/{tag}/current/link"
        return link.read_text() if link.exists() else None

    def open_uploads(self, repository: str) -> int:
        uploads = self._path(repository) / "_uploads"
        opened = [each for each in uploads.glob("*") if (each / "startedat").exists()]
        return sum(not (each / "data").exists() or not _size(each / "data") for each in opened)

    def _path(self, repository: str) -> Path:
        return self.directory / "docker/registry/v2/repositories" / repository


@dataclass(frozen=True)
class EcrRegistryByName:
    """The loopback ECR, addressed by its real host name."""

    registry: EcrRegistry

    @property
    def host(self) -> str:
        return self.registry.host

    def put(self, content: Content, repository: str) -> None:
        self.registry.put(content, repository, "1")

    def tag(self, repository: str, tag: str) -> str | None:
        return self.registry.store.tags(repository).get(tag)

    def open_uploads(self, repository: str) -> int:
        return sum(each.repository == repository for each in self.registry.store.open_uploads)


def _size(path: Path) -> int:
    return path.stat().st_size


def small_index() -> Index:
    shared = build_layer(6000, seed=1)
    return build_index(
        [
            build_image([shared], "linux/amd64"),
            build_image([shared], "linux/arm64"),
        ]
    )


@dataclass
class Scene:
    """An index at the source, and an older image with the tag at the destination."""

    source: FaultProxy
    destination: FaultProxy
    registry: Registry
    index: Index
    streams: int = 1
    attempts: int = 6
    destination_host: str = ""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self._old = build_image([], labels={"version": "old"})

    def run(
        self,
        source: Choice | None = None,
        destination: Choice | None = None,
        act: Act | None = None,
    ) -> tuple[Digest | ReplicationError, str]:
        """Replicate into a new repository; return the result and the repository.

        Checks that the tag points at the new index after a success and at the old image after a
        failure, and that no thread and no connection is left.
        """
        repository = f"copy/{next(self._numbers)}"
        self.registry.put(self._old, repository)
        self.source.reset_exchanges(source or (lambda _: pass_on))
        self.destination.reset_exchanges(destination or (lambda _: pass_on))
        replicator = Replicator(
            Settings(
                streams=self.streams,
                plain_http=("127.0.0.1",),
                stall_timeout_seconds=_LONG_TIMEOUT_SECONDS,
                response_timeout_seconds=_LONG_TIMEOUT_SECONDS,
            )
        )
        properties = {
            "SrcImage": f"{self.source.host}/app:1",
            "DestImage": f"{self.destination_host or self.destination.host}/{repository}:1",
            "Platforms": "all",
            "RetryConfigs": {"numAttempts": self.attempts, "baseDelay": 0},
        }
        try:
            result = (act or replicate)(replicator, properties)
        finally:
            names = [thread.name for thread in threading.enumerate()]
            replicator.close()
        assert not [name for name in names if name.startswith(_ENGINE_THREADS)]
        assert self.source.wait_until_closed()
        assert self.destination.wait_until_closed()
        assert not self.source.defects + self.destination.defects
        found = self.registry.tag(repository, "1")
        if isinstance(result, ReplicationError):
            assert found == self._old.digest, result
        else:
            assert found == self.index.digest == str(result)
        return result, repository


def replicate(replicator: Replicator, properties: Mapping[str, Any]) -> Digest | ReplicationError:
    try:
        outcome = replicator.replicate(
            parse_request(properties),
            deadline=Deadline(_DEADLINE_SECONDS),
            progress=LoggedProgress(),
        )
    except ReplicationError as error:
        return error
    assert outcome.digest is not None
    return outcome.digest


def responding(endpoint: CloudFormationEndpoint) -> Act:
    """Replicate with the whole function and check that CloudFormation receives one response."""

    def act(replicator: Replicator, properties: Mapping[str, Any]) -> Digest | ReplicationError:
        responses_before = len(endpoint.responses)
        event = endpoint.event("Create", properties)
        sent = ReplicationResource(lambda: replicator).respond(event, LambdaContext())
        assert endpoint.wait_for_response(event["RequestId"]).document == sent
        assert len(endpoint.responses) == responses_before + 1
        assert not endpoint.violations
        if sent["Status"] == "FAILED":
            assert "defect" not in sent["Reason"]
            return ReplicationError(sent["Reason"])
        return Digest.parse(sent["Data"]["ImageDigest"])

    return act


@contextmanager
def scene(
    registry: Registry,
    *,
    streams: int = 1,
    attempts: int = 6,
    destination: FaultProxy | None = None,
) -> Iterator[Scene]:
    """Push an index to a source that redirects blobs, and start proxies for both registries.

    `destination` is the proxy of a registry that has its own host name.
    """
    index = small_index()
    with ExitStack() as opened:
        opened.enter_context(declared_stalls())
        source = opened.enter_context(RegistryServer(blob_redirects="path"))
        push(index, source.host, "app", "1")
        yield Scene(
            opened.enter_context(FaultProxy(source.host)),
            destination or opened.enter_context(FaultProxy(registry.host)),
            registry,
            index,
            streams,
            attempts,
            registry.host if destination else "",
        )
