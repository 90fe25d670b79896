from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.custom_resource.engines import (
    DIGEST,
    PROPERTIES,
    URL,
    FakeContext,
    FakeReplicator,
    raising,
)

from custom_resource import direct_call
from custom_resource.failures import DefectError
from custom_resource.metrics import InvocationMetrics
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import DeniedError, RequestError, Setting, Side

METRICS: list[InvocationMetrics] = []


@pytest.fixture(autouse=True)
def no_metrics() -> None:
    METRICS.clear()


def call(event: dict[str, Any], work: Callable[[Deadline], None] = lambda _: None) -> Any:
    return direct_call.call(
        event, FakeContext(), replicator=lambda: FakeReplicator(work), record=METRICS.append
    )


@pytest.mark.parametrize("event", [PROPERTIES, {"ResourceProperties": PROPERTIES}])
def test_a_direct_call_returns_the_values(event: dict[str, Any]) -> None:
    values = call(event)
    assert values["ImageDigest"] == str(DIGEST)
    assert values["ImageUri"] == f"quay.io/team/app@{DIGEST}"
    assert [each.status for each in METRICS] == ["SUCCESS"]


def test_a_failure_is_raised_with_its_class_and_message() -> None:
    error = DeniedError(
        "access denied",
        side=Side.SOURCE,
        status=403,
        hint=("Set ", Setting.SOURCE_CREDENTIALS, "."),
    )
    with pytest.raises(DeniedError) as caught:
        call(PROPERTIES, raising(error))
    assert str(caught.value) == "access denied. Set SrcCreds."
    assert caught.value.status == 403
    assert caught.value.__suppress_context__
    assert [(each.status, each.cause) for each in METRICS] == [("FAILED", "Denied")]


def test_any_other_exception_is_raised_as_an_internal_error_without_its_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(DefectError) as caught:
        call(PROPERTIES, raising(KeyError(URL)))
    assert str(caught.value).startswith("internal error: KeyError at engines.py:")
    assert caught.value.__suppress_context__
    assert "hunter2" not in caplog.text
    assert METRICS[0].cause == "Defect"


@pytest.mark.parametrize(
    ("event", "found"),
    [
        ({}, "DestImage"),
        ({"ResourceProperties": None}, "invalid ResourceProperties"),
        ({**PROPERTIES, "Mirrored": True}, "Mirrored"),
        (
            {**PROPERTIES, "OnDelete": "Untag"},
            "invalid OnDelete: Untag needs a physical resource ID",
        ),
    ],
)
def test_an_invalid_event_raises_a_request_error(event: dict[str, Any], found: str) -> None:
    with pytest.raises(RequestError) as caught:
        call(event, raising(AssertionError()))
    assert found in str(caught.value)


@pytest.mark.parametrize("action", ["create", "update"])
def test_terraform_replicates_on_create_and_update(action: str) -> None:
    values = call({**PROPERTIES, "tf": {"action": action, "prev_input": None}})
    assert values["Changed"] == "true"


def test_terraform_deletes_nothing() -> None:
    event = {**PROPERTIES, "tf": {"action": "delete", "prev_input": PROPERTIES}}
    assert call(event, raising(AssertionError())) == {}
    assert METRICS == []


def test_a_dry_run_is_not_recorded() -> None:
    call({**PROPERTIES, "DryRun": True})
    assert METRICS == []


def test_the_deadline_is_the_remaining_time_less_a_reserve() -> None:
    seen: list[float] = []
    call(PROPERTIES, lambda deadline: seen.append(deadline.remaining_seconds))
    assert 879 < seen[0] <= 880


def test_credentials_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    call({**PROPERTIES, "SrcCreds": "ann:open-sesame"})
    assert "open-sesame" not in "".join(str(vars(each)) for each in caplog.records)
