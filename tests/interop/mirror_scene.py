"""Source registries with 300 tags that throttle, deny and kill, and the destination of a mirror."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs

from local.images import Content, push
from local.registry import ErrorCode, Operation, RegistryError, RegistryServer, SpecificationPolicy
from local.registry.store import Store
from local.web import Request
from tests.functional.mirror_fixtures import build_tags, put_tags
from tests.interop.registries import DockerRegistry

TAGS = [f"1.{number}" for number in range(15)]
#: How many repositories each of the three source hosts has.
REPOSITORIES = (8, 7, 5)


def ignore_manifest(_repository: str, _digest: str) -> None:
    """No fault."""


def ignore_blob(_repository: str) -> None:
    """No fault."""


class SourcePolicy(SpecificationPolicy):
    """The faults of a source registry: denials, a pull limit, and functions that tests set.

    Attributes
    ----------
    on_manifest, on_blob
        Called before the response to a GET.
    denied
        Repositories, and ``repository:tag``.
    allowed, throttled_count
        Number of allowed GETs of manifests, and number of throttled GETs after those.
    """

    def __init__(self) -> None:
        self.on_manifest: Callable[[str, str], None] = ignore_manifest
        self.on_blob: Callable[[str], None] = ignore_blob
        self.denied: set[str] = set()
        self.allowed: int | None = None
        self.throttled_count = 0
        self.retry_after = "1"
        self._lock = threading.Lock()

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - the policy's
        reference = request.path.rpartition("/")[2]
        names = {operation.repository, f"{operation.repository}:{reference}"}
        if names & self.denied:
            raise RegistryError(ErrorCode.DENIED, "requested access to the resource is denied")
        if "/blobs/" in request.path:
            self.on_blob(operation.repository)
        if "/manifests/" not in request.path or request.method != "GET":
            return
        with self._lock:
            if self.allowed is not None:
                self.allowed -= 1
                if self.allowed < 0 and self.throttled_count > 0:
                    self.throttled_count -= 1
                    headers = {
                        "Retry-After": self.retry_after,
                        "ratelimit-limit": "100;w=21600",
                        "ratelimit-remaining": "0;w=21600",
                    }
                    raise RegistryError(ErrorCode.TOOMANYREQUESTS, "limit", headers=headers)
        self.on_manifest(operation.repository, reference)


class MirrorScene:
    """300 tags in 20 repositories on 3 hosts, mirrored to one registry.

    Parameters
    ----------
    uses_docker_registry
        Whether the second source and the destination are docker-registry.
    """

    def __init__(self, *, uses_docker_registry: bool = False) -> None:
        self._stack = ExitStack()
        #: Of the first and the third source.
        self.first, self.third = SourcePolicy(), SourcePolicy()
        self.sources = [
            self._stack.enter_context(RegistryServer(policy=self.first)),
            self._open(uses_docker_registry),
            self._stack.enter_context(RegistryServer(policy=self.third)),
        ]
        self.destination = self._open(uses_docker_registry)
        self.entries: list[dict[str, Any]] = []
        #: By ``repository:tag`` of the source.
        self.images: dict[str, Content] = {}
        for host, count in enumerate(REPOSITORIES):
            for number in range(count):
                self._add_repository(host, f"team/app{host}{number}")
        self._tags = {image.digest: name.rpartition(":")[2] for name, image in self.images.items()}

    def _open(self, uses_docker_registry: bool) -> RegistryServer | DockerRegistry:
        if uses_docker_registry:
            return self._stack.enter_context(DockerRegistry())
        return self._stack.enter_context(RegistryServer())

    def _add_repository(self, host: int, name: str) -> None:
        source, platforms = self.sources[host], 2 if host == 1 else 1
        if isinstance(source, RegistryServer):
            images = put_tags(source, name, TAGS, platforms=platforms)
        else:
            images = build_tags(TAGS, platforms=platforms)
            for tag, image in images.items():
                push(image, source.host, name, tag)
        self.images |= {f"{name}:{tag}": image for tag, image in images.items()}
        self.entries.append(
            {
                "SrcRepository": f"{source.host}/{name}",
                "DestRepository": f"{self.destination.host}/mirror/{{path}}",
            }
        )

    @property
    def registries(self) -> Sequence[RegistryServer | DockerRegistry]:
        """The sources and the destination."""
        return (*self.sources, self.destination)

    def clear_requests(self) -> None:
        """Clear every registry's list of requests."""
        for registry in self.registries:
            registry.clear_requests()

    def position_of(self, digest: str) -> int:
        """Return the position of a manifest's tag in TAGS, -1 for other manifests."""
        tag = self._tags.get(digest)  # type: ignore[call-overload]
        return TAGS.index(tag) if tag else -1

    def count_blob_pushes(self) -> Counter[str]:
        """Count how often the destination stored each blob of each repository."""
        pushes: Counter[str] = Counter()
        for each in self.destination.requests:
            if each.method == "PUT" and "/blobs/uploads/" in each.path and each.status == 201:
                (digest,) = parse_qs(each.query)["digest"]
                pushes[f"{each.path.partition('/blobs/')[0]}@{digest}"] += 1
        return pushes

    def close(self) -> None:
        """Stop every registry."""
        self._stack.close()


def serves_entry(entry: int) -> Callable[[Mapping[str, Any]], bool]:
    """Return a predicate that matches events with a work item of an entry."""

    def serves(event: Mapping[str, Any]) -> bool:
        mirror = event.get("Mirror", {})
        return bool(mirror.get("Step") == "Copy" and mirror.get("Entry") == entry)

    return serves
