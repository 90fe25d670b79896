"""Redirects from public registries to private addresses are blocked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from local.images import build_image, build_layer, push
from local.registry import RegistryServer
from tests.faults.fault_proxy import Exchange, Fault, FaultProxy, pass_on
from tests.faults.hostile_servers import SHA, respond, where

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import (
    ProtocolError,
)
from ecr_image_replicator.registry.http import guarded_connection
from ecr_image_replicator.registry.http.addresses import AddressScope
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give three loopback addresses names and treat them as public, private and link-local."""
    names = {
        "public.example": "127.0.0.2",
        "elsewhere.example": "127.0.0.2",
        "private.example": "127.0.0.3",
        "local.example": "127.0.0.1",
    }
    scopes = {"127.0.0.2": AddressScope.PUBLIC, "127.0.0.3": AddressScope.PRIVATE}
    resolve = socket.getaddrinfo

    def find(host: str, *more: Any, **named: Any) -> Any:
        return resolve(names.get(host, host), *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", find)
    monkeypatch.setattr(
        guarded_connection, "scope_of", lambda ip: scopes.get(ip, AddressScope.LOCAL)
    )


PLAIN = ("public.example", "elsewhere.example", "private.example", "local.example")


@dataclass
class Scene:
    """A registry with a public address and the hosts of its redirects."""

    public: FaultProxy
    private: FaultProxy
    destination: RegistryServer
    replicator: Replicator

    def replicate(self, source: str = "public.example", **properties: Any) -> None:
        request = parse_request(
            {
                "SrcImage": f"{source}:{_port(self.public)}/app:1",
                "DestImage": f"{self.destination.host}/copy:1",
                "RetryConfigs": {"numAttempts": 1, "baseDelay": 0},
                **properties,
            }
        )
        self.replicator.replicate(request, deadline=Deadline(120), progress=LoggedProgress())


def _port(proxy: FaultProxy) -> str:
    return proxy.host.partition(":")[2]


@pytest.fixture
def scene(addresses: None) -> Iterator[Scene]:  # noqa: ARG001 - defines the registry's address
    with (
        RegistryServer() as source,
        RegistryServer() as destination,
        FaultProxy(source.host, address="127.0.0.2") as public,
        FaultProxy(source.host, address="0.0.0.0") as private,  # noqa: S104 - any of loopback's
    ):
        push(build_image([build_layer(2000)]), source.host, "app", "1")
        replicator = Replicator(Settings(plain_http=(*PLAIN, "127.0.0.1")))
        yield Scene(public, private, destination, replicator)
        replicator.close()


@pytest.mark.parametrize("host", ["private.example", "local.example"])
def test_a_public_registry_cannot_redirect_to_a_name_with_a_private_address(
    scene: Scene, host: str
) -> None:
    url = f"http://{host}:{_port(scene.private)}/v2/app/blobs/{SHA}"
    scene.public.reset_exchanges(where("/blobs/", "GET", respond(b"", 307, Location=url)))
    with pytest.raises(ProtocolError, match=f"private address {host}:"):
        scene.replicate()
    assert scene.private.exchanges == []


def test_a_realm_with_a_local_address_is_blocked(scene: Scene) -> None:
    realm = f'Bearer realm="http://local.example:{_port(scene.private)}/token"'
    scene.public.reset_exchanges(where("/v2/", "", respond(b"", 401, WWW_Authenticate=realm)))
    with pytest.raises(ProtocolError, match=r"to private address local\.example"):
        scene.replicate(SrcCreds="ann:open-sesame")
    assert scene.private.exchanges == []


def test_an_upload_location_with_a_private_address_is_blocked(scene: Scene) -> None:
    location = f"http://private.example:{_port(scene.private)}/upload"
    scene.public.reset_exchanges(where("/uploads/", "POST", respond(b"", 202, Location=location)))
    with pytest.raises(ProtocolError, match=r"to private address private\.example"):
        scene.replicate(
            DestImage=f"public.example:{_port(scene.public)}/other:1",
        )
    assert scene.private.exchanges == []


def test_a_connection_kept_for_a_private_registry_is_not_used_for_a_public_one(
    scene: Scene,
) -> None:
    url = f"http://private.example:{_port(scene.private)}/v2/app/manifests/1"
    destination = f"private.example:{_port(scene.private)}/team/copy:1"
    scene.replicate(DestImage=destination)
    before = len(scene.private.exchanges)
    scene.public.reset_exchanges(where("/manifests/", "HEAD", respond(b"", 307, Location=url)))
    with pytest.raises(ProtocolError, match=r"to private address private\.example"):
        scene.replicate()
    assert len(scene.private.exchanges) == before


def test_a_public_registry_can_redirect_to_another_public_host(scene: Scene) -> None:
    def inject(exchange: Exchange) -> None:
        target = exchange.request.target
        url = f"http://elsewhere.example:{_port(scene.public)}{target}?from=public"
        respond(b"", 307, Location=url)(exchange)

    def choose(exchange: Exchange) -> Fault:
        is_first = "/blobs/" in exchange.request.target and "?" not in exchange.request.target
        return inject if is_first else pass_on

    scene.public.reset_exchanges(choose)
    scene.replicate()
    assert scene.destination.store.tags("copy")


def test_a_private_registry_can_redirect_to_a_private_host_but_not_to_loopback(
    scene: Scene,
) -> None:
    request: dict[str, Any] = {"SrcImage": f"private.example:{_port(scene.private)}/app:1"}
    for host, is_allowed in (("private.example", True), ("local.example", False)):
        url = f"http://{host}:{_port(scene.private)}"

        def choose(exchange: Exchange, url: str = url) -> Fault:
            target = exchange.request.target
            is_first = "/blobs/" in target and "?" not in target
            return respond(b"", 307, Location=f"{url}{target}?x") if is_first else pass_on

        scene.private.reset_exchanges(choose)
        image = f"{scene.destination.host}/{host.partition('.')[0]}:1"
        if is_allowed:
            scene.replicate(**request, DestImage=image)
        else:
            with pytest.raises(ProtocolError, match=r"to private address local\.example"):
                scene.replicate(**request, DestImage=image)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "http://10.0.0.1/x", "http://[::1]/x"]
)
@pytest.mark.usefixtures("addresses")
def test_a_private_address_in_a_redirect_is_blocked(scene: Scene, url: str) -> None:
    scene.public.reset_exchanges(where("/blobs/", "GET", respond(b"", 307, Location=url)))
    with pytest.raises(ProtocolError, match=r"blocked redirect from public .* to private address"):
        scene.replicate()
