"""One event that Lambda delivers to two functions at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.images import build_image, build_layer, push
from local.registry import RegistryServer
from tests.faults.fault_proxy import Exchange, FaultProxy, pass_on
from tests.faults.lambda_context import LambdaContext
from tests.waiting import MAX_WAIT_SECONDS

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings


@pytest.fixture
def cloudformation(small_trust_store: CertificateAuthority) -> Iterator[CloudFormationEndpoint]:
    with CloudFormationEndpoint(small_trust_store.server_context()) as opened:
        yield opened


def test_two_functions_with_one_event_send_the_same_response(
    cloudformation: CloudFormationEndpoint,
) -> None:
    image = build_image([build_layer(30_000, seed=seed) for seed in range(4)])
    both = threading.Barrier(2, timeout=MAX_WAIT_SECONDS)
    waited: list[str] = []

    def wait_for_second_request(exchange: Exchange) -> None:
        """Delay the first request for the manifest until the second is received."""
        if len(waited) < 2 and exchange.request.method == "GET":
            waited.append(exchange.request.target)
            both.wait()
        pass_on(exchange)

    def respond(replicator: Replicator, resource: ReplicationResource) -> dict[str, Any]:
        try:
            return resource.respond(event, LambdaContext())
        finally:
            replicator.close()

    # created before the threads start, which would read the variable that crhelper needs
    replicators = [Replicator(Settings(streams=2, plain_http=("127.0.0.1",))) for _ in range(2)]
    resources = [ReplicationResource(partial(_itself, each)) for each in replicators]
    with (
        RegistryServer() as source,
        RegistryServer() as destination,
        FaultProxy(source.host, lambda _: wait_for_second_request) as together,
        ThreadPoolExecutor(2) as functions,
    ):
        push(image, source.host, "app", "1")
        event = cloudformation.event(
            "Create",
            {"SrcImage": f"{together.host}/app:1", "DestImage": f"{destination.host}/copy:1"},
        )
        bodies = list(functions.map(respond, replicators, resources))
        assert waited == [f"/v2/app/manifests/{image.digest}"] * 2
        assert destination.store.tags("copy") == {"1": image.digest}
        assert destination.store.open_uploads == ()
    assert [each["Status"] for each in bodies] == ["SUCCESS"] * 2
    assert len({each["PhysicalResourceId"] for each in bodies}) == 1
    # CloudFormation ignores the second response: both are the same
    assert [each.status for each in cloudformation.responses] == ["SUCCESS"] * 2


def _itself(replicator: Replicator) -> Replicator:
    return replicator
