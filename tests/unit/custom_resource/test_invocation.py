from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.unit.custom_resource.engines import (
    DIGEST,
    NEW_ID,
    URL,
    Endpoint,
    FakeContext,
    event_of,
)

from custom_resource.invocation import Invocation
from custom_resource.response import UndeliveredResponseError
from ecr_image_replicator.errors import OutOfTimeError


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    fake = Endpoint()
    # delivery itself is tested against a real endpoint
    monkeypatch.setattr("custom_resource.invocation.deliver", fake.deliver)
    return fake


def invocation_of(event: dict[str, Any], seconds: float = 900) -> Invocation:
    def invoke(*_: object) -> None:
        raise AssertionError

    return Invocation(event, FakeContext(seconds), response_url=URL, invoke=invoke)


def test_only_the_first_response_is_delivered(endpoint: Endpoint) -> None:
    invocation = invocation_of(event_of())
    threads = [
        threading.Thread(
            target=invocation.respond, args=("FAILED", ""), kwargs={"reason": str(number)}
        )
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert endpoint.bodies == [invocation.finish()]


def test_a_timer_that_fires_before_the_response_reports_a_timeout(endpoint: Endpoint) -> None:
    invocation = invocation_of(event_of("Update", PhysicalResourceId="old"))
    invocation.expire()
    invocation.respond("SUCCESS", NEW_ID, data={"ImageDigest": str(DIGEST)})
    body = invocation.finish()
    assert endpoint.bodies == [body]
    assert (body["Status"], body["PhysicalResourceId"]) == ("FAILED", "old")


class ArnContext(FakeContext):
    """The context of a function that can invoke itself."""

    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:replicator"


@pytest.mark.parametrize("error", [OutOfTimeError("timed out"), KeyError(URL)])
def test_a_continuation_that_cannot_be_started_is_a_failure(
    endpoint: Endpoint, error: Exception
) -> None:
    def invoke(*_: object) -> None:
        raise error

    invocation = Invocation(event_of(), ArnContext(60), response_url=URL, invoke=invoke)
    invocation.progress.pin(DIGEST)
    invocation.expire()
    body = invocation.finish()
    assert endpoint.bodies == [body]
    assert body["Status"] == "FAILED"
    assert "Cannot continue in another invocation: " in body["Reason"]
    assert "hunter2" not in body["Reason"]


def test_an_undelivered_timeout_response_raises_an_error(endpoint: Endpoint) -> None:
    endpoint.accepts = False
    invocation = invocation_of(event_of())
    invocation.expire()
    with pytest.raises(UndeliveredResponseError):
        invocation.finish()
