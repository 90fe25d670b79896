"""How many connections a copy takes, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from local.images import build_image, build_layer, push
from local.registry import RegistryServer
from tests.functional.conftest import Function

#: What the default of twelve streams may have under way at once.
MOST = 24


@pytest.fixture
def ends() -> Iterator[tuple[RegistryServer, RegistryServer]]:
    with RegistryServer() as source, RegistryServer() as destination:
        yield source, destination


def publish(source: RegistryServer, tag: str, layers: int = 1) -> None:
    image = build_image([build_layer(500, seed=hash((tag, n)) % 10**6) for n in range(layers)])
    push(image, source.host, "app", tag)


def test_images_share_a_bounded_number_of_connections(
    ends: tuple[RegistryServer, RegistryServer], function: Function
) -> None:
    source, destination = ends
    publish(source, "1", layers=40)
    publish(source, "2", layers=40)
    before = source.accepted_connections
    for tag in ("1", "2"):
        answer = function.create(f"{source.host}/app:{tag}", f"{destination.host}/app:{tag}")
        assert answer["Status"] == "SUCCESS", answer
    assert source.accepted_connections - before <= MOST
    assert destination.accepted_connections <= MOST


def test_as_many_connections_are_opened_as_blobs_are_missing(
    ends: tuple[RegistryServer, RegistryServer], function: Function
) -> None:
    source, destination = ends
    publish(source, "1", layers=6)
    before = source.accepted_connections
    answer = function.create(f"{source.host}/app:1", f"{destination.host}/app:1")
    assert answer["Status"] == "SUCCESS", answer
    # and one that found out that no TLS is spoken
    assert source.accepted_connections - before == 6 + 1 + 1


def test_what_is_there_already_takes_the_connections_that_are_kept(
    ends: tuple[RegistryServer, RegistryServer], function: Function
) -> None:
    source, destination = ends
    publish(source, "1")
    function.create(f"{source.host}/app:1", f"{destination.host}/app:1")
    before = source.accepted_connections, destination.accepted_connections
    answer = function.create(f"{source.host}/app:1", f"{destination.host}/app:1")
    assert answer["Data"]["Changed"] == "false"
    assert (source.accepted_connections, destination.accepted_connections) == before


def test_connections_that_died_meanwhile_are_replaced_and_cost_no_attempt(
    ends: tuple[RegistryServer, RegistryServer], function: Function
) -> None:
    source, destination = ends
    publish(source, "1")
    function.create(f"{source.host}/app:1", f"{destination.host}/app:1")
    for registry in ends:
        registry.end_connections()
        registry.clear_requests()
    before = source.accepted_connections, destination.accepted_connections
    answer = function.create(
        f"{source.host}/app:1", f"{destination.host}/app:1", RetryConfigs={"numAttempts": 1}
    )
    assert answer["Status"] == "SUCCESS", answer
    assert (len(source.requests), len(destination.requests)) == (1, 1)
    after = source.accepted_connections, destination.accepted_connections
    assert after == (before[0] + 1, before[1] + 1)
