from __future__ import annotations

import logging
import queue
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
from tests.faults.lambda_context import FUNCTION_ARN
from tests.faults.lambda_endpoint import LambdaEndpoint
from tests.faults.virtual_time import (
    SPAN_SECONDS,
    STEP_SECONDS,
    VirtualTime,
    invoke_with_real_budget,
)

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

#: A layer of 200 kB takes two steps of time, so an invocation finishes four of them.
STEP_BYTES = 100_000
LAYER_BYTES = 2 * STEP_BYTES


@dataclass
class Stage:
    source: RegistryServer
    destination: RegistryServer
    cloudformation: CloudFormationEndpoint
    functions: LambdaEndpoint
    time: VirtualTime

    def event(self, **properties: Any) -> dict[str, Any]:
        return self.cloudformation.event(
            "Create",
            {
                "SrcImage": f"{self.source.host}/app:1",
                "DestImage": f"{self.destination.host}/copy:1",
                "RetryConfigs": {"baseDelay": 0},
                **properties,
            },
        )

    def invoke(
        self, event: dict[str, Any], streams: int = 1, arn: str = FUNCTION_ARN
    ) -> dict[str, Any]:
        """Run one event in a cold function."""
        replicator = Replicator(Settings(streams=streams, plain_http=("127.0.0.1",)))
        resource = ReplicationResource(lambda: replicator, invoke=invoke_with_real_budget)
        try:
            return resource.respond(event, self.time.new_context(arn=arn))
        finally:
            replicator.close()

    def invoke_to_the_end(self, event: dict[str, Any], streams: int = 1) -> list[dict[str, Any]]:
        responses = [self.invoke(event, streams)]
        while responses[-1]["Status"] == "CONTINUED":
            event = self.functions.events.get_nowait()
            responses.append(self.invoke(event, streams))
        return responses


@pytest.fixture
def stage(
    small_trust_store: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    with stage_of(small_trust_store, monkeypatch, LambdaEndpoint()) as opened:
        yield opened


@contextmanager
def stage_of(
    authority: CertificateAuthority, patch: pytest.MonkeyPatch, functions: LambdaEndpoint
) -> Iterator[Stage]:
    time = VirtualTime(STEP_BYTES)
    time.install(patch)
    functions.set_environment(patch)
    with (
        RegistryServer() as source,
        RegistryServer() as destination,
        CloudFormationEndpoint(authority.server_context()) as cloudformation,
        functions,
    ):
        yield Stage(source, destination, cloudformation, functions, time)


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


def test_a_large_image_is_copied_over_several_invocations(stage: Stage) -> None:
    image = image_of(*[LAYER_BYTES] * 9)
    push(image, stage.source.host, "app", "1")
    event = stage.event()
    responses = stage.invoke_to_the_end(event)
    assert [each["Status"] for each in responses] == ["CONTINUED", "CONTINUED", "SUCCESS"]
    response = stage.cloudformation.wait_for_response(event["RequestId"])
    assert (response.status, response.document) == ("SUCCESS", responses[-1])
    assert len(stage.cloudformation.responses) == 1
    assert not stage.cloudformation.violations
    assert stage.destination.store.tags("copy") == {"1": image.digest}
    assert stage.destination.store.open_uploads == ()
    assert finished_uploads(stage.destination) == Counter(dict.fromkeys(image.blobs, 1))
    assert stage.functions.functions == [FUNCTION_ARN] * (len(responses) - 1)


def test_a_continuation_invokes_the_unqualified_function(stage: Stage) -> None:
    push(image_of(*[LAYER_BYTES] * 9), stage.source.host, "app", "1")
    response = stage.invoke(stage.event(), arn=f"{FUNCTION_ARN}:live")
    assert response["Status"] == "CONTINUED"
    assert stage.functions.functions == [FUNCTION_ARN]


def test_an_unreadable_continuation_starts_again_and_reuses_blobs(
    stage: Stage,
) -> None:
    image = image_of(*[LAYER_BYTES] * 6)
    push(image, stage.source.host, "app", "1")
    assert stage.invoke(stage.event())["Status"] == "CONTINUED"
    event = stage.functions.events.get_nowait()
    event["Continuation"] = {"StartedAt": event["Continuation"]["StartedAt"], "Of": "older code"}
    responses = stage.invoke_to_the_end(event)
    assert responses[-1]["Status"] == "SUCCESS"
    assert stage.destination.store.tags("copy") == {"1": image.digest}
    assert finished_uploads(stage.destination) == Counter(dict.fromkeys(image.blobs, 1))


def test_a_push_to_the_source_during_a_copy_has_no_effect(stage: Stage) -> None:
    image = image_of(*[LAYER_BYTES] * 6)
    push(image, stage.source.host, "app", "1")
    event = stage.event()
    assert stage.invoke(event)["Status"] == "CONTINUED"
    push(image_of(10), stage.source.host, "app", "1")
    responses = stage.invoke_to_the_end(stage.functions.events.get_nowait())
    assert responses[-1]["Data"]["ImageDigest"] == image.digest
    assert stage.destination.store.tags("copy") == {"1": image.digest}


def test_layers_that_do_not_fit_in_parallel_are_copied_sequentially(stage: Stage) -> None:
    image = image_of(7 * STEP_BYTES, 7 * STEP_BYTES)
    assert 7 * STEP_SECONDS < SPAN_SECONDS < 14 * STEP_SECONDS
    push(image, stage.source.host, "app", "1")
    stage.time.parallel_blobs = 2
    assert stage.invoke(stage.event(), 2)["Status"] == "CONTINUED"
    assert finished_uploads(stage.destination).keys().isdisjoint(layers_of(image))
    event = stage.functions.events.get_nowait()
    assert event["Continuation"]["Streams"] == 1
    stage.time.parallel_blobs = 1
    responses = stage.invoke_to_the_end(event, 2)
    assert responses[-1]["Status"] == "SUCCESS", responses[-1]
    assert finished_uploads(stage.destination) == Counter(dict.fromkeys(image.blobs, 1))


def test_the_error_for_a_layer_that_does_not_fit_has_the_rate(stage: Stage) -> None:
    image = image_of(20 * STEP_BYTES)
    push(image, stage.source.host, "app", "1")
    event = stage.event()
    response = stage.invoke(event)
    assert response["Status"] == "FAILED"
    assert "does not fit in one invocation: at the measured" in response["Reason"]
    assert str(max(map(len, image.blobs.values()))) in response["Reason"]
    assert stage.functions.events.empty()
    assert len(stage.cloudformation.responses) == 1
    assert stage.destination.store.open_uploads == ()


def test_invocations_end_before_the_service_timeout(stage: Stage) -> None:
    push(image_of(*[LAYER_BYTES] * 30), stage.source.host, "app", "1")
    event = stage.event(ServiceTimeout=str(2 * SPAN_SECONDS + 20))  # 20 s for the response
    responses = stage.invoke_to_the_end(event)
    assert len(responses) == 2
    assert responses[-1]["Status"] == "FAILED"
    assert "Increase the resource's ServiceTimeout" in responses[-1]["Reason"]
    assert stage.destination.store.tags("copy") == {}
    assert len(stage.cloudformation.responses) == 1


def test_a_direct_call_is_not_continued(stage: Stage) -> None:
    push(image_of(*[LAYER_BYTES] * 9), stage.source.host, "app", "1")
    response = stage.invoke({**stage.event(), "ResponseURL": "http://pre-signed"})
    assert response["Status"] == "FAILED"
    assert "timed out after" in response["Reason"]
    with pytest.raises(queue.Empty):
        stage.functions.events.get_nowait()


def test_a_denied_self_invocation_is_in_the_error(
    small_trust_store: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions = LambdaEndpoint(statuses=(403, 403, 403))
    with stage_of(small_trust_store, monkeypatch, functions) as stage:
        push(image_of(*[LAYER_BYTES] * 9), stage.source.host, "app", "1")
        event = stage.event()
        response = stage.invoke(event)
        assert response["Status"] == "FAILED"
        assert (
            "lambda:InvokeFunction failed: access denied (AccessDeniedException: no)"
            in response["Reason"]
        )
        assert len(stage.cloudformation.responses) == 1


def test_continuing_logs_no_secrets(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "botocore")
    # the second: each call sets the level of the handler as well
    caplog.set_level(logging.DEBUG)
    push(image_of(*[LAYER_BYTES] * 9), stage.source.host, "app", "1")
    event = stage.event(SrcCreds="ann:open-sesame")
    assert stage.invoke(event)["Status"] == "CONTINUED"
    assert stage.functions.events.get_nowait()["ResourceProperties"] == event["ResourceProperties"]
    assert "continues in another invocation" in caplog.text
    assert "open-sesame" not in caplog.text
    assert "X-Amz-Signature" not in caplog.text
