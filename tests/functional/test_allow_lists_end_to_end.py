"""ALLOWED_SOURCE_HOSTS and ALLOWED_DESTINATIONS, checked before any request is sent."""

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
def new_restricted_function() -> Iterator[Callable[..., Function]]:
    """Start functions with the environment that the template's parameters set."""
    started: list[Replicator] = []

    def start(**environment: str) -> Function:
        replicator = Replicator(Settings.from_environment(environment))
        started.append(replicator)
        return Function(ReplicationResource(lambda: replicator))

    yield start
    for each in started:
        each.close()


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (
            {"ALLOWED_SOURCE_HOSTS": "docker.io,quay.io"},
            "ALLOWED_SOURCE_HOSTS is docker.io, quay.io",
        ),
        ({"ALLOWED_DESTINATIONS": "quay.io/team/*"}, "ALLOWED_DESTINATIONS is"),
    ],
)
def test_a_host_that_is_not_in_an_allow_list_is_rejected_before_any_request(
    new_restricted_function: Callable[..., Function],
    registries: Start,
    cloudformation: Callable[..., CloudFormationEndpoint],
    lists: dict[str, str],
    message: str,
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

    new_restricted_function(**lists).send(event)

    [response] = endpoint.responses
    assert response.status == "FAILED"
    assert message in response.reason
    assert source.requests == ()
    assert destination.requests == ()


def test_an_allowed_source_and_destination_are_copied(
    new_restricted_function: Callable[..., Function], registries: Start
) -> None:
    source, destination = registries(), registries()
    image = build_image([build_layer(1000)])
    push(image, source.host, "team/app", "1")
    function = new_restricted_function(
        ALLOWED_SOURCE_HOSTS=f"docker.io,{source.host}",
        ALLOWED_DESTINATIONS=f"{destination.host}/mirror/*",
    )

    served = function.create(f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1")
    other = function.create(f"{source.host}/team/app:1", f"{destination.host}/private/app:1")

    assert served["Status"] == "SUCCESS", served
    assert "ALLOWED_DESTINATIONS is" in other["Reason"]
    assert destination.store.repositories == ("mirror/app",)


def test_an_allowed_source_may_redirect_blobs_to_a_host_that_is_not_listed(
    new_restricted_function: Callable[..., Function], registries: Start
) -> None:
    source, destination = registries(blob_redirects="absolute"), registries()
    image = build_image([build_layer(1000)])
    push(image, source.host, "team/app", "1")
    function = new_restricted_function(ALLOWED_SOURCE_HOSTS=source.host)

    response = function.create(f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1")

    # the list applies to SrcImage; the address check applies to redirects
    assert response["Status"] == "SUCCESS", response
    assert len(source.storage_requests) == len(image.blobs)
