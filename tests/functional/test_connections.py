"""The number of connections that a copy opens and keeps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from local.images import build_image, build_layer, push
from local.registry import RegistryServer
from tests.faults.fault_proxy import Exchange, FaultProxy, pass_on
from tests.faults.hostile_servers import respond
from tests.functional.conftest import Function
from tests.waiting import wait_until

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.registry.http.connections import MAX_ORIGINS
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings

#: The default is twelve streams, each with a download and an upload. Two more connections detect
#: that a server on loopback does not use TLS.
MAX_CONNECTIONS = 24 + 2


@pytest.fixture
def pair() -> Iterator[tuple[RegistryServer, RegistryServer]]:
    with RegistryServer() as source, RegistryServer() as destination:
        yield source, destination


def publish(source: RegistryServer, tag: str, layers: int = 1) -> None:
    image = build_image([build_layer(500, seed=1000 * int(tag) + n) for n in range(layers)])
    push(image, source.host, "app", tag)


def test_images_share_a_bounded_number_of_connections(
    pair: tuple[RegistryServer, RegistryServer], function: Function
) -> None:
    source, destination = pair
    publish(source, "1", layers=40)
    publish(source, "2", layers=40)
    before = source.accepted_connections
    for tag in ("1", "2"):
        response = function.create(f"{source.host}/app:{tag}", f"{destination.host}/app:{tag}")
        assert response["Status"] == "SUCCESS", response
    assert source.accepted_connections - before <= MAX_CONNECTIONS
    assert destination.accepted_connections <= MAX_CONNECTIONS


def test_one_connection_is_opened_for_each_missing_blob(
    pair: tuple[RegistryServer, RegistryServer], function: Function
) -> None:
    source, destination = pair
    publish(source, "1", layers=6)
    before = source.accepted_connections
    response = function.create(f"{source.host}/app:1", f"{destination.host}/app:1")
    assert response["Status"] == "SUCCESS", response
    # one more for the manifest, and one for the failed TLS handshake
    expected = before + 6 + 1 + 1
    # the server accepts a connection that no blob needed later than the client has opened it
    wait_until(
        lambda: source.accepted_connections >= expected,
        lambda: f"{source.accepted_connections} connections instead of {expected}",
    )
    assert source.accepted_connections == expected


def test_an_unchanged_image_reuses_connections(
    pair: tuple[RegistryServer, RegistryServer], function: Function
) -> None:
    source, destination = pair
    publish(source, "1")
    function.create(f"{source.host}/app:1", f"{destination.host}/app:1")
    before = source.accepted_connections, destination.accepted_connections
    response = function.create(f"{source.host}/app:1", f"{destination.host}/app:1")
    assert response["Data"]["Changed"] == "false"
    assert (source.accepted_connections, destination.accepted_connections) == before


def test_closed_idle_connections_are_replaced_without_a_retry(
    pair: tuple[RegistryServer, RegistryServer], function: Function
) -> None:
    source, destination = pair
    publish(source, "1")
    function.create(f"{source.host}/app:1", f"{destination.host}/app:1")
    for registry in pair:
        registry.end_connections()
        registry.clear_requests()
    before = source.accepted_connections, destination.accepted_connections
    response = function.create(
        f"{source.host}/app:1", f"{destination.host}/app:1", RetryConfigs={"numAttempts": 1}
    )
    assert response["Status"] == "SUCCESS", response
    assert (len(source.requests), len(destination.requests)) == (1, 1)
    after = source.accepted_connections, destination.accepted_connections
    assert after == (before[0] + 1, before[1] + 1)


def test_redirects_to_many_hosts_keep_a_bounded_number_of_connections() -> None:
    """A source redirects each of 150 blobs to another host."""
    with (
        RegistryServer() as source,
        RegistryServer() as destination,
        FaultProxy(source.host) as registry,
        FaultProxy(source.host, address="0.0.0.0") as storage,  # noqa: S104 - all loopback addresses
    ):
        publish(source, "1", layers=150)
        hosts = itertools.count(1)
        most = 0

        def redirect(exchange: Exchange) -> None:
            nonlocal most
            # the server sees a closed connection later than the client
            wait_until(lambda: storage.open_connections <= MAX_ORIGINS)
            most = max(most, storage.open_connections)
            url = f"http://127.0.1.{next(hosts) % 250}:{storage.host.rpartition(':')[2]}"
            respond(b"", 307, Location=url + exchange.request.target)(exchange)

        registry.reset_exchanges(lambda e: redirect if "/blobs/" in e.request.target else pass_on)
        replicator = Replicator(Settings(streams=4, plain_http=("127.0.0.1",)))
        request = parse_request(
            {"SrcImage": f"{registry.host}/app:1", "DestImage": f"{destination.host}/app:1"}
        )
        replicator.replicate(request, deadline=Deadline(600), progress=LoggedProgress())
        assert next(hosts) > 150
        assert most > 1
        assert not registry.defects
        # no connection to a storage host is kept for the next invocation
        assert storage.wait_until_closed()
        assert registry.open_connections > 0
        replicator.close()
        assert registry.wait_until_closed()
