from __future__ import annotations

import functools
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.emulator import EmulatorError, FunctionError, LambdaEmulator
from local.images import build_image, build_layer, push
from local.registry import RegistryServer
from tests.faults.fault_proxy import Exchange, Fault, FaultProxy, pass_on
from tests.faults.fault_scenes import Choice
from tests.faults.lambda_context import LambdaContext
from tests.faults.lambda_endpoint import LambdaEndpoint

import responder

HANDLER = Path(__file__).parent.parent.parent / "handler"
KILLS = 8


@pytest.fixture
def cloudformation(small_trust_store: CertificateAuthority) -> Iterator[CloudFormationEndpoint]:
    with CloudFormationEndpoint(small_trust_store.server_context()) as opened:
        yield opened


@pytest.fixture
def registries() -> Iterator[tuple[RegistryServer, FaultProxy, RegistryServer]]:
    with (
        RegistryServer() as source,
        FaultProxy(source.host) as proxy,
        RegistryServer() as destination,
    ):
        yield source, proxy, destination


def emulator(authority: CertificateAuthority, **more: Any) -> LambdaEmulator:
    environment = {
        "SSL_CERT_FILE": str(authority.ca_file),
        "RESPONSE_HOSTS": "localhost",
        "PLAIN_HTTP_REGISTRIES": "127.0.0.1",
        "PARALLEL_STREAMS": "2",
        "POWERTOOLS_LOG_LEVEL": "DEBUG",
        **more.pop("environment", {}),
    }
    return LambdaEmulator(HANDLER, environment=environment, timeout_seconds=120, **more)


def kill_runtime(function: LambdaEmulator) -> None:
    """Kill the function's process, as Lambda does when memory runs out."""
    os.kill(function.pid, signal.SIGKILL)


def killing(kill: Callable[[], None], moment: str) -> Fault:
    """Kill before a request is forwarded, in the middle of a body, or after the response."""

    def inject(exchange: Exchange) -> None:
        announced = exchange.request.announced_bytes
        if moment == "before":
            kill()
        elif moment == "amid" and announced:
            exchange.read_body(announced // 2)
            kill()
            exchange.forward()
        else:
            exchange.read_body()
            response = exchange.forward()
            if moment == "amid":
                exchange.send(response, len(response.body) // 2)
            kill()
        exchange.reset()

    return inject


def test_a_retry_after_a_kill_reuses_finished_blobs(
    request: pytest.FixtureRequest,
    small_trust_store: CertificateAuthority,
    cloudformation: CloudFormationEndpoint,
) -> None:
    image = build_image([build_layer(60_000, seed=seed) for seed in range(12)])
    layers = {digest for digest, blob in image.blobs.items() if blob != image.config}
    generator = random.Random(request.config.getoption("--random-order") or 0)
    kills = 0
    with (
        RegistryServer() as source,
        RegistryServer() as destination,
        FaultProxy(source.host) as before_source,
        FaultProxy(destination.host) as before_destination,
        emulator(small_trust_store) as function,
    ):
        push(image, source.host, "app", "1")
        event = cloudformation.event(
            "Create",
            {
                "SrcImage": f"{before_source.host}/app:1",
                "DestImage": f"{before_destination.host}/copy:1",
            },
        )
        returned = None
        while returned is None:
            done = _finished(destination)
            # a retry can have fewer requests, since fewer blobs are left to copy
            proxy, last = generator.choice([(before_source, 13), (before_destination, 28)])
            number = generator.randrange(last)
            inject = killing(
                functools.partial(kill_runtime, function),
                generator.choice(("before", "amid", "after")),
            )
            before_source.reset_exchanges(lambda _: pass_on)
            before_destination.reset_exchanges(lambda _: pass_on)
            if kills < KILLS:
                proxy.reset_exchanges(_at(number, inject))
            source.clear_requests()
            try:
                returned = function.invoke(event)
            except (EmulatorError, FunctionError):
                kills += 1
                assert cloudformation.responses == ()
                # a proxy can still be forwarding the last request of the killed process
                assert before_source.wait_until_closed()
                assert before_destination.wait_until_closed()
            read = {digest for each in source.requests for digest in layers if digest in each.path}
            assert not read & done.keys()
            assert destination.store.tags("copy") in ({}, {"1": image.digest})
        assert before_source.defects + before_destination.defects == []
        assert returned["Status"] == "SUCCESS"
        assert destination.store.tags("copy") == {"1": image.digest}
        assert _finished(destination) == Counter(dict.fromkeys(image.blobs, 1))
    assert kills
    assert [each.status for each in cloudformation.responses] == ["SUCCESS"]


def _at(number: int, inject: Fault) -> Choice:
    return lambda exchange: inject if exchange.number == number else pass_on


def _finished(registry: RegistryServer) -> Counter[str]:
    return Counter(
        entry.parameters["digest"]
        for entry in registry.requests
        if entry.method == "PUT" and "digest" in entry.parameters and entry.status == 201
    )


def test_the_responder_responds_for_a_killed_function(
    small_trust_store: CertificateAuthority,
    cloudformation: CloudFormationEndpoint,
    registries: tuple[RegistryServer, FaultProxy, RegistryServer],
) -> None:
    source, proxy, destination = registries
    push(build_image([build_layer(60_000)]), source.host, "app", "1")
    event = cloudformation.event(
        "Update",
        {"SrcImage": f"{proxy.host}/app:1", "DestImage": f"{destination.host}/copy:1"},
        physical_resource_id="127.0.0.1/copy:1@sha256:old",
    )
    with emulator(small_trust_store) as function:
        proxy.reset_exchanges(
            lambda _: killing(functools.partial(kill_runtime, function), "before")
        )
        with pytest.raises(FunctionError) as failed:
            function.invoke(event)
    returned = responder.lambda_handler(_record(event, failed.value), LambdaContext())
    assert returned is not None
    [response] = cloudformation.responses
    assert response.document == returned
    assert not cloudformation.violations
    assert (response.status, response.physical_resource_id) == (
        "FAILED",
        "127.0.0.1/copy:1@sha256:old",
    )
    assert "killed" in response.reason or "Runtime.ExitError" in response.reason


def test_the_responder_responds_for_a_function_that_cannot_deliver(
    small_trust_store: CertificateAuthority,
    registries: tuple[RegistryServer, FaultProxy, RegistryServer],
) -> None:
    source, _, destination = registries
    image = build_image([build_layer(60_000)])
    push(image, source.host, "app", "1")
    context = small_trust_store.server_context()
    with CloudFormationEndpoint(context, statuses=[403]) as rejecting:
        event = rejecting.event(
            "Create",
            {"SrcImage": f"{source.host}/app:1", "DestImage": f"{destination.host}/copy:1"},
        )
        with emulator(small_trust_store) as function, pytest.raises(FunctionError) as failed:
            function.invoke(event)
        body = responder.lambda_handler(_record(event, failed.value), LambdaContext())
        assert [each.document for each in rejecting.responses] == [body]
        assert rejecting.violations == ()
    assert body is not None
    assert body["Status"] == "FAILED"
    assert "the function could not deliver its response" in body["Reason"]
    # the image exists; the rollback's Delete does nothing for this ID
    assert destination.store.tags("copy") == {"1": image.digest}
    assert body["PhysicalResourceId"].startswith("not-created/")


def _record(event: dict[str, Any], failure: FunctionError) -> dict[str, Any]:
    """Return the record that Lambda sends to an on-failure destination."""
    return {
        "version": "1.0",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "requestContext": {
            "requestId": "8ea123e4-1db7-4aca-ad10-d9ca1234c1fd",
            "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:replicator:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 1,
        },
        "requestPayload": event,
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        },
        "responsePayload": {
            "errorType": failure.kind,
            "errorMessage": str(failure).removeprefix(f"{failure.kind}: "),
        },
    }


def test_the_responder_runs_under_the_emulator(
    small_trust_store: CertificateAuthority, cloudformation: CloudFormationEndpoint
) -> None:
    event = cloudformation.event("Create", {"SrcImage": "a", "DestImage": "b"})
    record = _record(event, FunctionError("Sandbox.Timedout", "Task timed out"))
    with emulator(small_trust_store, handler="responder.lambda_handler") as function:
        returned = function.invoke(record)
        function.invoke(record)
        log = function.log
    assert [each.document for each in cloudformation.responses] == [returned, returned]
    assert returned["Status"] == "FAILED"
    assert "the function timed out" in returned["Reason"]
    assert event["ResponseURL"] not in log
    assert "X-Amz-Signature" not in log


def test_a_function_under_the_emulator_continues_in_further_invocations(
    small_trust_store: CertificateAuthority,
    cloudformation: CloudFormationEndpoint,
    registries: tuple[RegistryServer, FaultProxy, RegistryServer],
    tmp_path: Path,
) -> None:
    source, proxy, destination = registries
    image = build_image([build_layer(1000, seed=seed) for seed in range(8)])
    push(image, source.host, "app", "1")
    deadline_file = tmp_path / "passed"

    def pass_deadline(exchange: Exchange) -> None:
        deadline_file.touch()
        exchange.wait_for_client_close()

    event: dict[str, Any] = cloudformation.event(
        "Create", {"SrcImage": f"{proxy.host}/app:1", "DestImage": f"{destination.host}/copy:1"}
    )
    with LambdaEndpoint() as functions:
        environment = {
            **functions.environment(),
            "DEADLINE_FILE": str(deadline_file),
            "PARALLEL_STREAMS": "1",
            "PYTHONPATH": f"{HANDLER}:{Path(__file__).parent}",
        }
        with emulator(
            small_trust_store,
            handler="expiring_function.lambda_handler",
            environment=environment,
        ) as function:
            # the fourth blob is not received before the deadline
            proxy.reset_exchanges(_at(5, pass_deadline))
            assert function.invoke(event)["Status"] == "CONTINUED"
            deadline_file.unlink()
            status = "CONTINUED"
            while status == "CONTINUED":
                status = function.invoke(functions.events.get_nowait())["Status"]
            assert status == "SUCCESS"
            log = function.log
    assert destination.store.tags("copy") == {"1": image.digest}
    assert _finished(destination) == Counter(dict.fromkeys(image.blobs, 1))
    assert [each.status for each in cloudformation.responses] == ["SUCCESS"]
    assert "X-Amz-Signature" not in log
    assert "of-a-test" not in log
