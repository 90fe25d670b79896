from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.builders import FakeClock, digest_of

from custom_resource.response import MAX_ANSWER_BYTES, CustomResourceResponse, deliver
from ecr_image_replicator.copy.results import TransferReport
from ecr_image_replicator.model.platforms import Platform
from ecr_image_replicator.model.references import ImageReference
from ecr_image_replicator.outcome import Outcome

URL = "https://cloudformation.example/answer?signature=hunter2"


def _answer(**fields: Any) -> CustomResourceResponse:
    return CustomResourceResponse(
        **{
            "status": "SUCCESS",
            "physical_resource_id": "quay.io/a:1@sha256:0",
            "stack_id": "arn:aws:cloudformation:eu-west-1:123456789012:stack/s/1",
            "request_id": "request",
            "logical_resource_id": "Image",
            **fields,
        }
    )


def _size_bytes(body: dict[str, Any]) -> int:
    return len(json.dumps(body).encode())


def test_a_success_has_the_ids_and_the_values() -> None:
    assert _answer(data={"Changed": "true"}).body() == {
        "Status": "SUCCESS",
        "PhysicalResourceId": "quay.io/a:1@sha256:0",
        "StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/s/1",
        "RequestId": "request",
        "LogicalResourceId": "Image",
        "NoEcho": False,
        "Data": {"Changed": "true"},
    }


def test_a_failure_has_a_reason() -> None:
    body = _answer(status="FAILED", reason="it failed").body()
    assert (body["Status"], body["Reason"]) == ("FAILED", "it failed")


@given(st.text() | st.text(min_size=3000, max_size=9000), st.text(max_size=2000))
def test_a_reason_of_any_length_fits_and_keeps_its_end(reason: str, physical_id: str) -> None:
    end = "; see the log stream 2026/11/21/[$LATEST]0123456789abcdef"
    body = _answer(
        status="FAILED", reason=reason + end, physical_resource_id=physical_id or "x"
    ).body()
    assert _size_bytes(body) <= MAX_ANSWER_BYTES
    assert body["Reason"].endswith(end)
    assert len(body["PhysicalResourceId"].encode()) <= 1024


@pytest.mark.parametrize("character", ["x", "…", "\U0001f4a5", "\ud800"])
def test_a_reason_of_megabytes_is_cut_at_once(character: str) -> None:
    began_at = time.monotonic()
    body = _answer(reason=character * 2_000_000 + "the end").body()
    assert time.monotonic() - began_at < 2
    assert _size_bytes(body) <= MAX_ANSWER_BYTES
    assert body["Reason"].endswith("the end")
    assert body["Reason"].startswith(character)
    assert _size_bytes(body) > MAX_ANSWER_BYTES * 3 // 4


def test_a_short_reason_is_not_cut() -> None:
    assert _answer(reason="r" * 1000).body()["Reason"] == "r" * 1000


def test_an_id_of_unpaired_surrogates_is_an_answer_all_the_same() -> None:
    body = _answer(physical_resource_id="a\ud800b").body()
    assert body["PhysicalResourceId"] == "a?b"


def test_the_digests_of_platforms_are_left_out_first() -> None:
    digests = {f"Digest.arch{n}": "sha256:" + "0" * 64 for n in range(60)}
    data = {"ImageDigest": "d", "Platforms": "linux/amd64", **digests}
    body = _answer(data=data).body()
    assert body["Data"] == {"ImageDigest": "d", "Platforms": "linux/amd64"}


def test_the_list_of_platforms_is_left_out_next() -> None:
    data = {"ImageDigest": "d", "Platforms": "linux/amd64," * 400, "Digest.amd64": "d"}
    assert _answer(data=data).body()["Data"] == {"ImageDigest": "d"}


def test_digests_that_fit_are_all_there() -> None:
    data = {f"Digest.arch{n}": "sha256:" + "0" * 64 for n in range(20)}
    assert _answer(data=data).body()["Data"] == data


@given(st.integers(1, 253), st.integers(1, 255), st.integers(1, 128), st.integers(0, 200))
@example(253, 255, 128, 0)
@example(253, 255, 128, 200)
def test_a_replications_answer_fits_whatever_its_names(
    host: int, repository: int, tag: int, platforms: int
) -> None:
    outcome = Outcome(
        destination=ImageReference(f"{'h' * host}:65535", "r" * repository, "t" * tag),
        digest=digest_of(b""),
        media_type="application/vnd.docker.distribution.manifest.list.v2+json",
        platforms=tuple(
            (Platform("linux", f"arch{number}"), digest_of(b"")) for number in range(platforms)
        ),
        changed=True,
        report=TransferReport(999, 999, 999, 10**15),
        duration_seconds=900.0,
    )
    body = _answer(
        physical_resource_id=outcome.physical_resource_id,
        stack_id=f"arn:aws:cloudformation:ap-northeast-1:123456789012:stack/{'s' * 128}/{'u' * 36}",
        request_id="u" * 36,
        logical_resource_id="L" * 255,
        data=outcome.attributes(),
    ).body()
    assert _size_bytes(body) <= MAX_ANSWER_BYTES
    assert body["Data"]["ImageDigest"] == str(outcome.digest)
    assert body["PhysicalResourceId"] == outcome.physical_resource_id


class FakeEndpoint:
    """Answers with one status after the other, then with the last; 0 for no answer."""

    def __init__(self, clock: FakeClock, *statuses: int, seconds: float = 0.0) -> None:
        self._clock = clock
        self._statuses = list(statuses)
        self._seconds = seconds
        self.timeouts: list[float] = []
        self.contents: list[bytes] = []

    def put(self, url: str, content: bytes, timeout_seconds: float) -> int:
        assert url == URL
        self.timeouts.append(timeout_seconds)
        self.contents.append(content)
        self._clock.now += min(self._seconds, timeout_seconds)
        return self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]


def _deliver(
    monkeypatch: pytest.MonkeyPatch,
    *statuses: int,
    budget_seconds: float = 60.0,
    seconds: float = 0.0,
) -> tuple[bool, FakeEndpoint, FakeClock]:
    clock = FakeClock()
    endpoint = FakeEndpoint(clock, *statuses, seconds=seconds)
    # what it does with a connection is tested against a real endpoint
    monkeypatch.setattr("custom_resource.response._put", endpoint.put)
    taken = deliver(URL, {"a": "é"}, budget_seconds=budget_seconds, sleep=clock.sleep, clock=clock)
    return taken, endpoint, clock


@pytest.mark.parametrize("status", [200, 204])
def test_an_answer_that_was_taken_is_sent_once(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    taken, endpoint, clock = _deliver(monkeypatch, status)
    assert taken
    assert endpoint.contents == [b'{"a": "\\u00e9"}']
    assert clock.slept == []


@pytest.mark.parametrize("status", [0, 408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_with_longer_and_longer_waits(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    taken, endpoint, clock = _deliver(monkeypatch, *[status] * 6, 200)
    assert taken
    assert len(endpoint.contents) == 7
    assert clock.slept == [0.5, 1, 2, 4, 8, 8]


@pytest.mark.parametrize("status", [301, 400, 403, 404, 501])
def test_a_refusal_is_final(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    taken, endpoint, _ = _deliver(monkeypatch, status)
    assert not taken
    assert len(endpoint.contents) == 1


def test_it_is_given_up_before_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken, endpoint, clock = _deliver(monkeypatch, 0, budget_seconds=12, seconds=99)
    assert not taken
    assert clock.now <= 1000 + 12
    assert all(seconds <= 5 for seconds in endpoint.timeouts)
    assert "did not take the answer: no response" in caplog.text
    assert "hunter2" not in caplog.text


def test_it_is_tried_once_even_without_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, endpoint, clock = _deliver(monkeypatch, 200, budget_seconds=-1)
    assert taken
    assert endpoint.timeouts == [0.1]
    assert clock.slept == []
