from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.images import Image, build_image, build_layer, push
from local.registry import RegistryServer
from tests.faults.fault_kinds import trickle_at
from tests.faults.fault_proxy import Exchange, FaultProxy
from tests.faults.lambda_context import FUNCTION_ARN, LambdaContext
from tests.faults.lambda_endpoint import LambdaEndpoint

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

TIMEOUT_SECONDS = 4.0
RATE_BYTES = 400_000
_TURN = threading.Lock()


@dataclass
class Stage:
    source: RegistryServer
    slow: FaultProxy
    destination: RegistryServer
    cloudformation: CloudFormationEndpoint
    functions: LambdaEndpoint

    def event(self, **properties: Any) -> dict[str, Any]:
        return self.cloudformation.event(
            "Create",
            {
                "SrcImage": f"{self.slow.host}/app:1",
                "DestImage": f"{self.destination.host}/copy:1",
                "RetryConfigs": {"baseDelay": 0},
                **properties,
            },
        )

    def invoke(self, event: dict[str, Any], streams: int = 1) -> dict[str, Any]:
        """Run one event in a function that is cold."""
        replicator = Replicator(Settings(streams=streams, plain_http=("127.0.0.1",)))
        resource = ReplicationResource(lambda: replicator)
        try:
            return resource.respond(event, LambdaContext(TIMEOUT_SECONDS))
        finally:
            replicator.close()

    def invoke_to_the_end(self, event: dict[str, Any], streams: int = 1) -> list[dict[str, Any]]:
        told = [self.invoke(event, streams)]
        while told[-1]["Status"] == "CONTINUED":
            told.append(self.invoke(self.functions.events.get_nowait(), streams))
        return told


@pytest.fixture
def stage(
    small_trust_store: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    with stage_of(small_trust_store, LambdaEndpoint()) as opened:
        opened.functions.set_environment(monkeypatch)
        yield opened


@contextmanager
def stage_of(authority: CertificateAuthority, functions: LambdaEndpoint) -> Iterator[Stage]:
    with (
        RegistryServer() as source,
        FaultProxy(source.host, lambda _: trickle_at(RATE_BYTES)) as slow,
        RegistryServer() as destination,
        CloudFormationEndpoint(authority.server_context()) as cloudformation,
        functions,
    ):
        yield Stage(source, slow, destination, cloudformation, functions)


def image_of(*sizes: int) -> Image:
    return build_image([build_layer(size, seed=number) for number, size in enumerate(sizes)])


def layers_of(image: Image) -> set[str]:
    return {digest for digest, blob in image.blobs.items() if blob != image.config}


def finished_uploads(registry: RegistryServer) -> Counter[str]:
    return Counter(
        entry.parameters["digest"]
        for entry in registry.requests
        if entry.method == "PUT" and "digest" in entry.parameters and entry.status == 201
    )


def test_an_image_of_many_seconds_arrives_over_several_invocations(stage: Stage) -> None:
    image = image_of(*[180_000] * 9)
    push(image, stage.source.host, "app", "1")
    event = stage.event()
    told = stage.invoke_to_the_end(event)
    assert len(told) > 2
    assert [each["Status"] for each in told[:-1]] == ["CONTINUED"] * (len(told) - 1)
    answer = stage.cloudformation.wait_for_response(event["RequestId"])
    assert (answer.status, answer.document) == ("SUCCESS", told[-1])
    assert len(stage.cloudformation.responses) == 1
    assert not stage.cloudformation.violations
    assert stage.destination.store.tags("copy") == {"1": image.digest}
    assert stage.destination.store.open_uploads == ()
    assert finished_uploads(stage.destination) == Counter(dict.fromkeys(image.blobs, 1))
    assert stage.functions.functions == [FUNCTION_ARN] * (len(told) - 1)


def test_work_goes_on_in_the_version_that_it_began_with_whatever_the_alias_is_of(
    stage: Stage,
) -> None:
    push(image_of(*[180_000] * 9), stage.source.host, "app", "1")
    replicator = Replicator(Settings(streams=1, plain_http=("127.0.0.1",)))
    context = LambdaContext(
        TIMEOUT_SECONDS, invoked_function_arn=f"{FUNCTION_ARN}:live", function_version="7"
    )
    told = ReplicationResource(lambda: replicator).respond(stage.event(), context)
    replicator.close()
    assert told["Status"] == "CONTINUED"
    assert stage.functions.functions == [f"{FUNCTION_ARN}:7"]


def test_what_is_pushed_meanwhile_is_not_mixed_in(stage: Stage) -> None:
    image = image_of(*[180_000] * 6)
    push(image, stage.source.host, "app", "1")
    event = stage.event()
    assert stage.invoke(event)["Status"] == "CONTINUED"
    push(image_of(10), stage.source.host, "app", "1")
    told = stage.invoke_to_the_end(stage.functions.events.get_nowait())
    assert told[-1]["Data"]["ImageDigest"] == image.digest
    assert stage.destination.store.tags("copy") == {"1": image.digest}


def test_layers_that_do_not_fit_side_by_side_are_moved_one_by_one(stage: Stage) -> None:
    image = image_of(500_000, 500_000)
    push(image, stage.source.host, "app", "1")
    stage.slow.start_over(lambda _: share)
    event = stage.event()
    assert stage.invoke(event, streams=2)["Status"] == "CONTINUED"
    assert finished_uploads(stage.destination).keys().isdisjoint(layers_of(image))
    event = stage.functions.events.get_nowait()
    assert event["Continuation"]["Streams"] == 1
    told = stage.invoke_to_the_end(event, streams=2)
    assert told[-1]["Status"] == "SUCCESS", told[-1]
    assert finished_uploads(stage.destination) == Counter(dict.fromkeys(image.blobs, 1))


def share(exchange: Exchange) -> None:
    """Pass answers on at a rate that all of them share."""
    exchange.read_body()
    answer = exchange.forward()
    step = RATE_BYTES // 50
    exchange.client.sendall(answer.head)
    for at in range(0, len(answer.body), step):
        with _TURN:
            time.sleep(1 / 50)
        exchange.client.sendall(answer.body[at : at + step])


def test_a_layer_that_does_not_fit_alone_is_reported_with_the_rate(stage: Stage) -> None:
    image = image_of(4_000_000)
    push(image, stage.source.host, "app", "1")
    event = stage.event()
    told = stage.invoke(event)
    assert told["Status"] == "FAILED"
    assert "does not fit one invocation: at the measured" in told["Reason"]
    assert str(max(map(len, image.blobs.values()))) in told["Reason"]
    assert stage.functions.events.empty()
    assert len(stage.cloudformation.responses) == 1
    assert stage.destination.store.open_uploads == ()


def test_a_service_timeout_ends_the_runs_in_time(stage: Stage) -> None:
    push(image_of(*[180_000] * 30), stage.source.host, "app", "1")
    event = stage.event(ServiceTimeout="5")
    began_at = time.monotonic()
    told = stage.invoke_to_the_end(event)
    assert told[-1]["Status"] == "FAILED"
    assert "raise the resource's ServiceTimeout" in told[-1]["Reason"]
    assert time.monotonic() - began_at < 5
    assert stage.destination.store.tags("copy") == {}
    assert len(stage.cloudformation.responses) == 1


def test_where_nobody_waits_the_work_does_not_go_on(stage: Stage) -> None:
    push(image_of(*[180_000] * 9), stage.source.host, "app", "1")
    told = stage.invoke({**stage.event(), "ResponseURL": "http://pre-signed"})
    assert told["Status"] == "FAILED"
    assert "there was no time left" in told["Reason"]
    with pytest.raises(queue.Empty):
        stage.functions.events.get_nowait()


def test_a_function_that_may_not_invoke_itself_says_so(
    small_trust_store: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage_of(small_trust_store, LambdaEndpoint(statuses=(403, 403, 403))) as stage:
        stage.functions.set_environment(monkeypatch)
        push(image_of(*[180_000] * 9), stage.source.host, "app", "1")
        event = stage.event()
        told = stage.invoke(event)
        assert told["Status"] == "FAILED"
        assert (
            "lambda:InvokeFunction by the function's role was refused (AccessDeniedException: no)"
            in told["Reason"]
        )
        assert len(stage.cloudformation.responses) == 1


def test_what_goes_on_keeps_its_secrets_out_of_the_log(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("botocore").setLevel(logging.CRITICAL)
    push(image_of(*[180_000] * 9), stage.source.host, "app", "1")
    event = stage.event(SrcCreds="ann:open-sesame")
    assert stage.invoke(event)["Status"] == "CONTINUED"
    assert stage.functions.events.get_nowait()["ResourceProperties"] == event["ResourceProperties"]
    assert "goes on in another invocation" in caplog.text
    assert "open-sesame" not in caplog.text
    assert "X-Amz-Signature" not in caplog.text
