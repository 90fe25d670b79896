"""Registries behind proxies that can send arbitrary responses."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from local.images import Image
from local.registry import RegistryServer
from tests.faults.fault_proxy import Exchange, Fault, FaultProxy, Message, pass_on

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import (
    ReplicationError,
)
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
SHA = "sha256:" + "0" * 64


@dataclass
class HostilePair:
    """A source and a destination registry behind proxies that can send arbitrary responses."""

    source_registry: RegistryServer
    destination_registry: RegistryServer
    source: FaultProxy
    destination: FaultProxy
    image: Image
    replicator: Replicator

    def replicate(self, *, deadline: Deadline | None = None, **properties: Any) -> None:
        request = parse_request(
            {
                "SrcImage": f"{self.source.host}/app:1",
                "DestImage": f"{self.destination.host}/copy:1",
                "RetryConfigs": {"numAttempts": 2, "baseDelay": 0},
                **properties,
            }
        )
        self.replicator.replicate(
            request, deadline=deadline or Deadline(120), progress=LoggedProgress()
        )

    def assert_fails(self, kind: type[ReplicationError], message: str, **more: Any) -> None:
        with pytest.raises(kind, match=message):
            self.replicate(**more)
        assert self.destination_registry.store.tags("copy") == {}
        assert self.destination_registry.store.open_uploads == ()

    def source_responds(self, part: str, fault: Fault, method: str = "GET") -> None:
        self.source.reset_exchanges(where(part, method, fault))

    def destination_responds(self, part: str, fault: Fault, method: str) -> None:
        self.destination.reset_exchanges(where(part, method, fault))

    def source_serves(
        self, manifest: Mapping[str, Any] | bytes, media_type: str = MANIFEST
    ) -> None:
        """Serve a manifest that a registry would reject."""
        content = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        self.source.reset_exchanges(
            where("/manifests/", "", respond(content, media_type=media_type))
        )


class ExpiringDeadline(Deadline):
    """A deadline that a test can expire."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(120, clock=lambda: self._now)

    def expire(self) -> None:
        """Advance the clock and close the connections, as the timer does."""
        self._now += 120
        self._expire()


def where(part: str, method: str, fault: Fault) -> Callable[[Exchange], Fault]:
    def choose(exchange: Exchange) -> Fault:
        is_chosen = part in exchange.request.target and exchange.request.method.startswith(method)
        return fault if is_chosen else pass_on

    return choose


def respond(body: bytes = b"", status: int = 200, *, media_type: str = "", **headers: str) -> Fault:
    def inject(exchange: Exchange) -> None:
        exchange.read_body()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if media_type:
            named["Content-Type"] = media_type
        lines = [f"HTTP/1.1 {status} Hostile", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in named.items()]
        sent = b"" if exchange.request.method == "HEAD" else body
        exchange.send(Message("\r\n".join([*lines, "", ""]).encode(), sent))

    return inject


def send_endlessly(head: bytes, more: bytes, *, then: Callable[[], object] = int) -> Fault:
    """Send the head, then send `more` repeatedly.

    Parameters
    ----------
    then
        Called after `more` was sent once.
    """

    def inject(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.client.sendall(head)
        with contextlib.suppress(OSError):
            exchange.client.sendall(more)
            then()
            while True:
                exchange.client.sendall(more)
        exchange.close()

    return inject
