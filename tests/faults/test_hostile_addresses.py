"""Public registries that lead into private networks: refused by the address."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from local.images import build_image, build_layer, push
from local.registry import RegistryServer
from tests.faults.fault_proxy import Exchange, Fault, FaultProxy, pass_on
from tests.faults.hostile_servers import SHA, answer, where

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
    """Take three loopback addresses for a public, a private and a link-local one, with names."""
    names = {
        "public.example": "127.0.0.2",
        "elsewhere.example": "127.0.0.2",
        "private.example": "127.0.0.3",
        "local.example": "127.0.0.1",
    }
    reaches = {"127.0.0.2": AddressScope.PUBLIC, "127.0.0.3": AddressScope.PRIVATE}
    resolve = socket.getaddrinfo

    def find(host: str, *more: Any, **named: Any) -> Any:
        return resolve(names.get(host, host), *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", find)
    monkeypatch.setattr(
        guarded_connection, "scope_of", lambda ip: reaches.get(ip, AddressScope.LOCAL)
    )


PLAIN = ("public.example", "elsewhere.example", "private.example", "local.example")


@dataclass
class Places:
    """A registry that is public by its address, and others that it leads to."""

    public: FaultProxy
    inward: FaultProxy
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
        self.replicator.replicate(request, deadline=Deadline(20), progress=LoggedProgress())


def _port(proxy: FaultProxy) -> str:
    return proxy.host.partition(":")[2]


@pytest.fixture
def places(addresses: None) -> Iterator[Places]:  # noqa: ARG001 - by which it is reached
    with (
        RegistryServer() as source,
        RegistryServer() as destination,
        FaultProxy(source.host, address="127.0.0.2") as public,
        FaultProxy(source.host, address="0.0.0.0") as inward,  # noqa: S104 - any of loopback's
    ):
        push(build_image([build_layer(2000)]), source.host, "app", "1")
        replicator = Replicator(Settings(plain_http=(*PLAIN, "127.0.0.1"), stall_timeout_seconds=5))
        yield Places(public, inward, destination, replicator)
        replicator.close()


@pytest.mark.parametrize("host", ["private.example", "local.example"])
def test_a_name_that_a_public_registry_redirects_to_must_not_resolve_inward(
    places: Places, host: str
) -> None:
    url = f"http://{host}:{_port(places.inward)}/v2/app/blobs/{SHA}"
    places.public.start_over(where("/blobs/", "GET", answer(b"", 307, Location=url)))
    with pytest.raises(ProtocolError, match=f"leads to {host}:.* inside a private network"):
        places.replicate()
    assert places.inward.exchanges == []


def test_a_name_that_resolves_inward_is_no_token_service(places: Places) -> None:
    realm = f'Bearer realm="http://local.example:{_port(places.inward)}/token"'
    places.public.start_over(where("/v2/", "", answer(b"", 401, WWW_Authenticate=realm)))
    with pytest.raises(ProtocolError, match=r"leads to local\.example"):
        places.replicate(SrcCreds="ann:open-sesame")
    assert places.inward.exchanges == []


def test_a_name_that_resolves_inward_takes_no_upload(places: Places) -> None:
    location = f"http://private.example:{_port(places.inward)}/upload"
    places.public.start_over(where("/uploads/", "POST", answer(b"", 202, Location=location)))
    with pytest.raises(ProtocolError, match=r"leads to private\.example"):
        places.replicate(
            DestImage=f"public.example:{_port(places.public)}/other:1",
        )
    assert places.inward.exchanges == []


def test_a_connection_kept_for_somebody_else_is_not_lent_to_a_public_registry(
    places: Places,
) -> None:
    url = f"http://private.example:{_port(places.inward)}/v2/app/manifests/1"
    destination = f"private.example:{_port(places.inward)}/team/copy:1"
    places.replicate(DestImage=destination)
    before = len(places.inward.exchanges)
    places.public.start_over(where("/manifests/", "HEAD", answer(b"", 307, Location=url)))
    with pytest.raises(ProtocolError, match=r"leads to private\.example"):
        places.replicate()
    assert len(places.inward.exchanges) == before


def test_a_public_registry_may_lead_to_another_public_host(places: Places) -> None:
    def strike(exchange: Exchange) -> None:
        target = exchange.request.target
        url = f"http://elsewhere.example:{_port(places.public)}{target}?from=public"
        answer(b"", 307, Location=url)(exchange)

    def choose(exchange: Exchange) -> Fault:
        is_first = "/blobs/" in exchange.request.target and "?" not in exchange.request.target
        return strike if is_first else pass_on

    places.public.start_over(choose)
    places.replicate()
    assert places.destination.store.tags("copy")


def test_a_private_registry_may_lead_to_a_private_host_but_not_to_this_machine(
    places: Places,
) -> None:
    request: dict[str, Any] = {"SrcImage": f"private.example:{_port(places.inward)}/app:1"}
    for host, is_allowed in (("private.example", True), ("local.example", False)):
        url = f"http://{host}:{_port(places.inward)}"

        def choose(exchange: Exchange, url: str = url) -> Fault:
            target = exchange.request.target
            is_first = "/blobs/" in target and "?" not in target
            return answer(b"", 307, Location=f"{url}{target}?x") if is_first else pass_on

        places.inward.start_over(choose)
        image = f"{places.destination.host}/{host.partition('.')[0]}:1"
        if is_allowed:
            places.replicate(**request, DestImage=image)
        else:
            with pytest.raises(ProtocolError, match=r"leads to local\.example"):
                places.replicate(**request, DestImage=image)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "http://10.0.0.1/x", "http://[::1]/x"]
)
@pytest.mark.usefixtures("addresses")
def test_an_inward_address_in_a_redirect_is_refused(places: Places, url: str) -> None:
    places.public.start_over(where("/blobs/", "GET", answer(b"", 307, Location=url)))
    with pytest.raises(ProtocolError, match=r"blocked redirect from public .* to private address"):
        places.replicate()


# Heads
