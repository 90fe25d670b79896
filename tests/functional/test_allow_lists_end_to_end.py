"""What the function's owner does not let it serve is refused before anybody hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from local.cloudformation import CloudFormationEndpoint
from local.images import build_image, build_layer, push
from local.registry import BearerAuthentication, RegistryServer
from tests.functional.conftest import Function

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

Start = Callable[..., RegistryServer]


@pytest.fixture
def new_owner() -> Iterator[Callable[..., Function]]:
    """Make functions as the template's parameters set them up."""
    made: list[Replicator] = []

    def make(**environment: str) -> Function:
        replicator = Replicator(Settings.from_environment(environment))
        made.append(replicator)
        return Function(ReplicationResource(lambda: replicator))

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize(
    ("lists", "sentence"),
    [
        (
            {"ALLOWED_SOURCE_HOSTS": "docker.io,quay.io"},
            "ALLOWED_SOURCE_HOSTS is docker.io, quay.io",
        ),
        ({"ALLOWED_DESTINATIONS": "quay.io/team/*"}, "ALLOWED_DESTINATIONS is"),
    ],
)
def test_nobody_is_asked_anything_for_what_is_not_listed(
    new_owner: Callable[..., Function],
    registries: Start,
    cloudformation: Callable[..., CloudFormationEndpoint],
    lists: dict[str, str],
    sentence: str,
) -> None:
    source = registries(authentication=BearerAuthentication({"ann": "open-sesame"}))
    destination, endpoint = registries(), cloudformation()
    event = endpoint.event(
        "Create",
        {
            "SrcImage": f"{source.host}/team/app:1",
            "DestImage": f"{destination.host}/mirror/app:1",
            "SrcCreds": "ann:open-sesame",
        },
    )

    new_owner(**lists).send(event)

    [answer] = endpoint.responses
    assert answer.status == "FAILED"
    assert sentence in answer.reason
    assert source.requests == ()
    assert destination.requests == ()


def test_what_is_listed_is_served(new_owner: Callable[..., Function], registries: Start) -> None:
    source, destination = registries(), registries()
    image = build_image([build_layer(1000)])
    push(image, source.host, "team/app", "1")
    function = new_owner(
        ALLOWED_SOURCE_HOSTS=f"docker.io,{source.host}",
        ALLOWED_DESTINATIONS=f"{destination.host}/mirror/*",
    )

    served = function.create(f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1")
    other = function.create(f"{source.host}/team/app:1", f"{destination.host}/private/app:1")

    assert served["Status"] == "SUCCESS", served
    assert "ALLOWED_DESTINATIONS is" in other["Reason"]
    assert destination.store.repositories == ("mirror/app",)


def test_the_storage_of_a_source_that_is_listed_is_read(
    new_owner: Callable[..., Function], registries: Start
) -> None:
    source, destination = registries(blob_redirects="absolute"), registries()
    image = build_image([build_layer(1000)])
    push(image, source.host, "team/app", "1")
    function = new_owner(ALLOWED_SOURCE_HOSTS=source.host)

    answer = function.create(f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1")

    # the list is for what stacks ask; where a registry leads is judged by its address
    assert answer["Status"] == "SUCCESS", answer
    assert len(source.storage_requests) == len(image.blobs)
