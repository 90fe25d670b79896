"""The metrics that an invocation prints, in CloudWatch's embedded metric format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from custom_resource.metrics import InvocationMetrics, publish
from ecr_image_replicator.copy.progress import Counts

NAMED = {"stack_id": "stack", "request_id": "request"}
COUNTS = Counts(
    bytes_moved=1000,
    blobs_copied=3,
    blobs_skipped=2,
    blobs_mounted=1,
    retries=5,
    throttles=4,
)


@pytest.fixture(autouse=True)
def _service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "images")


def published(
    capsys: pytest.CaptureFixture[str], measured: InvocationMetrics
) -> list[dict[str, Any]]:
    publish(measured, request=NAMED)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def values(line: dict[str, Any]) -> dict[str, float]:
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    found = {}
    for metric in directive["Metrics"]:
        value = line[metric["Name"]]
        found[metric["Name"]] = sum(value) if isinstance(value, list) else value
    return found


def test_a_copy_is_one_line_with_every_metric(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = published(capsys, InvocationMetrics("SUCCESS", 1.5, is_changed=True, counts=COUNTS))

    assert values(line) == {
        "Copies": 1,
        "Unchanged": 0,
        "Continuations": 0,
        "BytesMoved": 1000,
        "BlobsCopied": 3,
        "BlobsSkipped": 3,
        "Retries": 5,
        "Throttles": 4,
        "Seconds": 1.5,
    }
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "EcrImageReplicator"
    assert directive["Dimensions"] == [["service"]]
    assert line["service"] == "images"
    units = {each["Name"]: each["Unit"] for each in directive["Metrics"]}
    assert (units["BytesMoved"], units["Seconds"]) == ("Bytes", "Seconds")


def test_the_metrics_line_has_the_message_and_the_request_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (line,) = published(capsys, InvocationMetrics("SUCCESS", 1))
    assert line["message"] == "metrics"
    assert NAMED.items() <= line.items()


@pytest.mark.parametrize(
    ("measured", "counted"),
    [
        (InvocationMetrics("SUCCESS", 1, is_changed=True), {"Copies"}),
        (InvocationMetrics("SUCCESS", 1), {"Unchanged"}),
        (InvocationMetrics("CONTINUED", 1), {"Continuations"}),
        (InvocationMetrics("FAILED", 1, cause="Denied"), set()),
    ],
)
def test_an_invocation_is_counted_once(
    capsys: pytest.CaptureFixture[str], measured: InvocationMetrics, counted: set[str]
) -> None:
    found = values(published(capsys, measured)[0])
    ones = {name for name in ("Copies", "Unchanged", "Continuations") if found[name] == 1}
    assert ones == counted


def test_a_failure_is_counted_in_total_and_by_cause(capsys: pytest.CaptureFixture[str]) -> None:
    _, line = published(capsys, InvocationMetrics("FAILED", 1, cause="Denied"))

    assert values(line) == {"Failures": 1}
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert sorted(map(sorted, directive["Dimensions"])) == [["cause", "service"], ["service"]]
    assert (line["service"], line["cause"]) == ("images", "Denied")


def test_metrics_of_a_failure_do_not_leak_into_the_next_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    published(capsys, InvocationMetrics("FAILED", 1, cause="Denied", counts=COUNTS))
    (line,) = published(capsys, InvocationMetrics("SUCCESS", 1))
    assert "cause" not in line
    assert values(line)["BytesMoved"] == 0
