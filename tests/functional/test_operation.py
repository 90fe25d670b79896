"""The function under the Lambda emulator: metrics, stages, SNS requests and direct calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.emulator import FunctionError, LambdaEmulator
from local.images import Image, build_image, build_layer, push
from local.registry import (
    Action,
    ErrorCode,
    Operation,
    RegistryError,
    RegistryServer,
    SpecificationPolicy,
    Store,
)
from local.web import Request
from tests.examples.resolver import load_template

HANDLER = Path(__file__).parents[2] / "handler"
TEMPLATE = Path(__file__).parents[2] / "template.yaml"


class RejectedUploadsPolicy(SpecificationPolicy):
    """A registry that rejects the first uploads with these statuses, last first."""

    def __init__(self, statuses: list[int]) -> None:
        self._statuses = statuses

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - overrides
        if operation.action is Action.START_UPLOAD and self._statuses:
            raise RegistryError(ErrorCode.TOOMANYREQUESTS, "later", status=self._statuses.pop())


@pytest.fixture
def endpoint(cloudformation: Callable[..., CloudFormationEndpoint]) -> CloudFormationEndpoint:
    return cloudformation()


@pytest.fixture
def emulator(authority: CertificateAuthority) -> Iterator[LambdaEmulator]:
    environment = {
        "SSL_CERT_FILE": str(authority.ca_file),
        "RESPONSE_HOSTS": "localhost",
        "PLAIN_HTTP_REGISTRIES": "127.0.0.1",
        "POWERTOOLS_SERVICE_NAME": "images",
        "ALLOWED_DESTINATIONS": "127.0.0.1:*",
    }
    with LambdaEmulator(HANDLER, environment=environment) as started:
        yield started


def sns_event(request: dict[str, Any]) -> dict[str, Any]:
    notification = {"Type": "Notification", "Message": json.dumps(request)}
    return {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": notification}]}


def lines_of(emulator: LambdaEmulator) -> list[dict[str, Any]]:
    lines = [line for line in emulator.log.splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


def metrics_of(emulator: LambdaEmulator, message: str = "metrics") -> list[dict[str, Any]]:
    return [line for line in lines_of(emulator) if line.get("message") == message]


def sum_of(lines: list[dict[str, Any]], metric: str) -> float:
    return float(sum(line[metric][0] for line in lines))


def push_image(registry: RegistryServer) -> Image:
    image = build_image([build_layer(100_000, seed=seed) for seed in range(3)])
    push(image, registry.host, "team/app", "1")
    return image


def properties(source: RegistryServer, destination: RegistryServer) -> dict[str, Any]:
    return {
        "SrcImage": f"{source.host}/team/app:1",
        "DestImage": f"{destination.host}/mirror/app:1",
        "RetryConfigs": {"baseDelay": 0},
    }


def test_metrics_count_a_copy_and_an_unchanged_run(
    registries: Callable[..., RegistryServer],
    endpoint: CloudFormationEndpoint,
    emulator: LambdaEmulator,
) -> None:
    source, destination = registries(), registries()
    image = push_image(source)
    for _ in range(2):
        response = emulator.invoke(endpoint.event("Create", properties(source, destination)))
        assert response["Status"] == "SUCCESS"

    copied, unchanged = metrics_of(emulator)
    assert (copied["Copies"], copied["Unchanged"]) == ([1.0], [0.0])
    assert copied["BlobsCopied"] == [float(len(image.blobs))]
    assert copied["BytesMoved"] == [float(sum(map(len, image.blobs.values())))]
    assert (unchanged["Copies"], unchanged["Unchanged"]) == ([0.0], [1.0])
    assert unchanged["BytesMoved"] == [0.0]
    assert copied["service"] == "images"
    assert copied["request_id"] == endpoint.responses[0].request_id


def test_the_logged_stages_have_the_bytes_of_the_request(
    registries: Callable[..., RegistryServer],
    endpoint: CloudFormationEndpoint,
    emulator: LambdaEmulator,
) -> None:
    source, destination = registries(), registries()
    image = push_image(source)
    emulator.invoke(endpoint.event("Create", properties(source, destination)))

    stages = [line for line in lines_of(emulator) if line["message"] == "stage"]
    assert [line["stage"] for line in stages] == ["state", "read", "copy", "respond"]
    moved = sum(map(len, image.blobs.values()))
    assert [line["stage_bytes"] for line in stages] == [0, 0, moved, 0]
    assert all(line["stage_seconds"] >= 0 for line in stages)


def test_metrics_count_throttles_and_retries(
    registries: Callable[..., RegistryServer],
    endpoint: CloudFormationEndpoint,
    emulator: LambdaEmulator,
) -> None:
    source, destination = registries(), registries(policy=RejectedUploadsPolicy([429, 502]))
    push_image(source)
    response = emulator.invoke(endpoint.event("Create", properties(source, destination)))
    assert response["Status"] == "SUCCESS"
    (line,) = metrics_of(emulator)
    assert (line["Retries"], line["Throttles"]) == ([2.0], [1.0])


def test_failure_metrics_have_the_cause_and_no_secrets(
    registries: Callable[..., RegistryServer],
    endpoint: CloudFormationEndpoint,
    emulator: LambdaEmulator,
) -> None:
    source, destination = registries(), registries()
    named = {**properties(source, destination), "SrcCreds": "robot:correct-horse"}
    response = emulator.invoke(endpoint.event("Create", named))
    assert response["Status"] == "FAILED"
    (line,) = metrics_of(emulator, "failure metrics")
    assert (line["Failures"], line["cause"]) == ([1.0], "NotFound")
    assert sum_of(metrics_of(emulator), "Copies") == 0
    assert "correct-horse" not in emulator.log


def test_a_request_through_sns_gets_a_response(
    registries: Callable[..., RegistryServer],
    endpoint: CloudFormationEndpoint,
    emulator: LambdaEmulator,
) -> None:
    source, destination = registries(), registries()
    image = push_image(source)
    event = endpoint.event("Create", properties(source, destination), logical_resource_id="Far")

    response = emulator.invoke(sns_event(event))

    assert response["Status"] == "SUCCESS"
    assert [each.document for each in endpoint.responses] == [response]
    assert not endpoint.violations
    assert destination.store.tags("mirror/app") == {"1": image.digest}
    assert {line["logical_resource_id"] for line in lines_of(emulator)} == {"Far"}


def test_a_request_that_sns_delivers_twice_is_processed_once(
    registries: Callable[..., RegistryServer],
    endpoint: CloudFormationEndpoint,
    emulator: LambdaEmulator,
) -> None:
    source, destination = registries(), registries()
    push_image(source)
    event = sns_event(endpoint.event("Create", properties(source, destination)))

    assert emulator.invoke(event) == emulator.invoke(event)

    assert len(endpoint.responses) == 1
    assert sum_of(metrics_of(emulator), "Copies") == 1


def test_an_sns_notification_without_a_request_is_an_error(emulator: LambdaEmulator) -> None:
    response = emulator.invoke(
        {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "good morning"}}]}
    )
    assert response["Status"] == "FAILED"


def test_a_request_through_sns_is_rejected_if_alloweddestinations_is_empty(
    registries: Callable[..., RegistryServer],
    endpoint: CloudFormationEndpoint,
    authority: CertificateAuthority,
) -> None:
    source, destination = registries(), registries()
    push_image(source)
    event = sns_event(endpoint.event("Create", properties(source, destination)))
    environment = {"SSL_CERT_FILE": str(authority.ca_file), "RESPONSE_HOSTS": "localhost"}
    with LambdaEmulator(HANDLER, environment=environment) as function:
        response = function.invoke(event)
    assert response["Status"] == "FAILED"
    assert "while the function's AllowedDestinations is empty" in response["Reason"]
    assert [each.document for each in endpoint.responses] == [response]
    assert destination.requests == ()


def test_a_direct_call_returns_the_values(
    registries: Callable[..., RegistryServer], emulator: LambdaEmulator
) -> None:
    source, destination = registries(), registries()
    image = push_image(source)
    named = properties(source, destination)
    values = emulator.invoke(named)
    assert values["ImageDigest"] == image.digest
    assert destination.store.tags("mirror/app") == {"1": image.digest}
    assert emulator.invoke({"ResourceProperties": named})["Changed"] == "false"
    assert sum_of(metrics_of(emulator), "Copies") == 1


def test_a_direct_call_that_fails_is_a_function_error(
    registries: Callable[..., RegistryServer], emulator: LambdaEmulator
) -> None:
    source, destination = registries(), registries()
    named = {**properties(source, destination), "SrcCreds": "robot:correct-horse"}
    with pytest.raises(FunctionError) as failed:
        emulator.invoke(named)
    assert failed.value.kind == "NotFoundError"
    assert "404" in str(failed.value)
    with pytest.raises(FunctionError) as invalid:
        emulator.invoke({**named, "OnDelete": "Untag"})
    assert invalid.value.kind == "RequestError"
    (line, _) = metrics_of(emulator, "failure metrics")
    assert (line["Failures"], line["cause"]) == ([1.0], "NotFound")
    assert "correct-horse" not in emulator.log


def test_terraform_creates_updates_and_deletes(
    registries: Callable[..., RegistryServer], emulator: LambdaEmulator
) -> None:
    source, destination = registries(), registries()
    image = push_image(source)
    named = properties(source, destination)
    created = emulator.invoke({**named, "tf": {"action": "create", "prev_input": None}})
    updated = emulator.invoke({**named, "tf": {"action": "update", "prev_input": named}})
    deleted = emulator.invoke({**named, "tf": {"action": "delete", "prev_input": named}})
    assert (created["Changed"], updated["Changed"], deleted) == ("true", "false", {})
    assert destination.store.tags("mirror/app") == {"1": image.digest}


def test_an_undelivered_response_is_a_function_error(
    registries: Callable[..., RegistryServer],
    cloudformation: Callable[..., CloudFormationEndpoint],
    emulator: LambdaEmulator,
) -> None:
    source, destination = registries(), registries()
    push_image(source)
    rejecting = cloudformation(statuses=[403])
    with pytest.raises(FunctionError) as failed:
        emulator.invoke(rejecting.event("Create", properties(source, destination)))
    assert failed.value.kind == "UndeliveredResponseError"
    assert "X-Amz-Signature" not in emulator.log


def test_a_placeholder_url_returns_the_response_of_success_and_failure(
    registries: Callable[..., RegistryServer], emulator: LambdaEmulator
) -> None:
    source, destination = registries(), registries()
    placeholder = {
        "RequestType": "Create",
        "ResponseURL": "http://pre-signed-S3-url-for-response",
        "ResourceProperties": properties(source, destination),
    }
    assert emulator.invoke(placeholder)["Status"] == "FAILED"
    push_image(source)
    assert emulator.invoke(placeholder)["Status"] == "SUCCESS"


def test_the_templates_ca_bundle_variables_apply_to_registries_and_responses(
    registries: Callable[..., RegistryServer],
    endpoint: CloudFormationEndpoint,
    authority: CertificateAuthority,
) -> None:
    function = load_template(TEMPLATE)["Resources"]["ReplicatorFunction"]["Properties"]
    bundle = {
        name: str(authority.ca_file)
        for name, value in function["Environment"]["Variables"].items()
        if isinstance(value, dict) and value.get("Fn::If", [""])[0] == "HasCaBundle"
    }
    source, destination = (registries(tls=authority.server_context()) for _ in range(2))
    image = build_image([build_layer(1000)])
    for content in image.blobs.values():
        source.store.put_blob("team/app", content)
    source.store.put_manifest("team/app", "1", image.manifest, image.media_type)
    event = endpoint.event("Create", properties(source, destination))

    bundle["RESPONSE_HOSTS"] = "localhost"
    with LambdaEmulator(HANDLER, environment=bundle) as function:
        trusted = function.invoke(event)
    with LambdaEmulator(HANDLER, environment={}) as untrusting:
        untrusted = untrusting.invoke(
            {**event, "ResponseURL": "http://none", "RequestId": "another"}
        )

    assert trusted["Status"] == "SUCCESS"
    assert [each.document for each in endpoint.responses] == [trusted]
    assert untrusted["Status"] == "FAILED"
    assert "SSL_CERT_FILE" in untrusted["Reason"]
