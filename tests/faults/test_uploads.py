"""Uploads whose token expires, and their upload sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from local.images import Image, build_image, build_layer, push
from local.registry import BearerAuthentication, RegistryServer
from tests.faults.fault_kinds import never_respond, respond_with
from tests.faults.fault_proxy import Exchange, Fault, FaultProxy, pass_on
from tests.faults.stalls import declared_stalls
from tests.replicating import replicate_once

from ecr_image_replicator.errors import DeniedError


class Stage:
    def __init__(
        self,
        source: FaultProxy,
        destination: FaultProxy,
        registry: RegistryServer,
        authentication: BearerAuthentication,
        image: Image,
    ) -> None:
        self.source = source
        self.destination = destination
        self.registry = registry
        self.authentication = authentication
        self.image = image

    def replicate(self) -> None:
        replicate_once(
            {
                "SrcImage": f"{self.source.host}/app:1",
                "DestImage": f"{self.destination.host}/copy:1",
                "DestCreds": "ann:open-sesame",
                "RetryConfigs": {"baseDelay": 0},
            },
            streams=1,
        )

    def requests(self) -> Counter[tuple[str, int]]:
        return Counter((each.method, each.status) for each in self.registry.requests)


@pytest.fixture
def stage() -> Iterator[Stage]:
    image = build_image([build_layer(3000)])
    authentication = BearerAuthentication({"ann": "open-sesame"}, anonymous_pull=False)
    with (
        RegistryServer() as source,
        RegistryServer(authentication=authentication) as destination,
        FaultProxy(source.host) as before_source,
        FaultProxy(destination.host) as before_destination,
    ):
        push(image, source.host, "app", "1")
        yield Stage(before_source, before_destination, destination, authentication, image)


def test_a_token_that_expires_before_a_body_restarts_the_upload(stage: Stage) -> None:
    was_revoked: list[bool] = []

    def revoke(exchange: Exchange) -> None:
        was_revoked.append(True)
        stage.authentication.revoke_all()
        pass_on(exchange)

    def choose(exchange: Exchange) -> Fault:
        is_first_blob = exchange.request.method == "PUT" and not was_revoked
        return revoke if is_first_blob else pass_on

    stage.destination.reset_exchanges(choose)
    stage.replicate()
    assert stage.registry.store.tags("copy") == {"1": stage.image.digest}
    assert stage.registry.store.open_uploads == ()
    # the layer's and, if it had started, the config's
    assert 1 <= stage.requests()["PUT", 401] <= 2
    assert stage.requests()["DELETE", 204] == stage.requests()["PUT", 401]


def test_a_cancellation_that_times_out_is_not_sent_again(stage: Stage) -> None:
    stage.source.reset_exchanges(
        lambda exchange: (
            respond_with(403, "DENIED") if "/blobs/" in exchange.request.target else pass_on
        )
    )
    stage.destination.reset_exchanges(
        lambda exchange: never_respond if exchange.request.method == "DELETE" else pass_on
    )
    with declared_stalls(), pytest.raises(DeniedError):
        stage.replicate()
    methods = Counter(each.method for each in stage.destination.exchanges)
    assert methods["DELETE"] == stage.requests()["POST", 202] >= 1


def test_a_token_that_expires_before_the_end_leaves_no_open_session(stage: Stage) -> None:
    was_revoked: list[bool] = []

    def reject(exchange: Exchange) -> None:
        # only once: rejecting the other blob would revoke the token of the cancellation
        if not was_revoked:
            was_revoked.append(True)
            stage.authentication.revoke_all()
        respond_with(403, "DENIED")(exchange)

    stage.source.reset_exchanges(
        lambda exchange: reject if "/blobs/" in exchange.request.target else pass_on
    )
    with pytest.raises(DeniedError):
        stage.replicate()
    assert stage.registry.store.open_uploads == ()
    assert stage.requests()["DELETE", 401] >= 1
    assert stage.requests()["DELETE", 204] == stage.requests()["POST", 202] >= 1
