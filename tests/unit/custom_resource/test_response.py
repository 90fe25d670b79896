from __future__ import annotations

import json
import ssl
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.builders import FakeClock, digest_of

from custom_resource.response import (
    MAX_RESPONSE_BYTES,
    CustomResourceResponse,
    deliver,
    is_allowed_url,
    is_https,
)
from ecr_image_replicator.copy.results import TransferReport
from ecr_image_replicator.model.platforms import Platform
from ecr_image_replicator.model.references import ImageReference
from ecr_image_replicator.outcome import Outcome

URL = "https://cloudformation.example/response?signature=hunter2"


def response_of(**fields: Any) -> CustomResourceResponse:
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


def test_a_success_has_ids_and_attributes() -> None:
    assert response_of(data={"Changed": "true"}).body() == {
        "Status": "SUCCESS",
        "PhysicalResourceId": "quay.io/a:1@sha256:0",
        "StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/s/1",
        "RequestId": "request",
        "LogicalResourceId": "Image",
        "NoEcho": False,
        "Data": {"Changed": "true"},
    }


def test_a_failure_has_a_reason() -> None:
    body = response_of(status="FAILED", reason="it failed").body()
    assert (body["Status"], body["Reason"]) == ("FAILED", "it failed")


@given(st.text() | st.text(min_size=3000, max_size=9000), st.text(max_size=2000))
def test_a_reason_of_any_length_fits_and_keeps_its_end(reason: str, physical_id: str) -> None:
    end = "; see the log stream 2026/11/21/[$LATEST]0123456789abcdef"
    body = response_of(
        status="FAILED", reason=reason + end, physical_resource_id=physical_id or "x"
    ).body()
    assert _size_bytes(body) <= MAX_RESPONSE_BYTES
    assert body["Reason"].endswith(end)
    assert len(body["PhysicalResourceId"].encode()) <= 1024


@pytest.mark.parametrize("character", ["x", "…", "\U0001f4a5", "\ud800"])
def test_a_reason_of_megabytes_fills_the_response(character: str) -> None:
    body = response_of(reason=character * 2_000_000 + "the end").body()
    assert _size_bytes(body) <= MAX_RESPONSE_BYTES
    assert body["Reason"].endswith("the end")
    assert body["Reason"].startswith(character)
    assert _size_bytes(body) > MAX_RESPONSE_BYTES * 3 // 4


def test_a_short_reason_is_not_cut() -> None:
    assert response_of(reason="r" * 1000).body()["Reason"] == "r" * 1000


@pytest.mark.parametrize("reason", ["it failed", "r" * 9000])
def test_a_reason_is_cut_to_one_character_if_the_ids_alone_are_too_long(reason: str) -> None:
    body = response_of(status="FAILED", reason=reason, logical_resource_id="L" * 5000).body()
    assert len(body["Reason"]) == 1


def test_lone_surrogates_in_an_id_are_replaced() -> None:
    body = response_of(physical_resource_id="a\ud800b").body()
    assert body["PhysicalResourceId"] == "a?b"


def test_the_digests_of_platforms_are_removed_first() -> None:
    digests = {f"Digest.arch{n}": "sha256:" + "0" * 64 for n in range(60)}
    data = {"ImageDigest": "d", "Platforms": "linux/amd64", **digests}
    body = response_of(data=data).body()
    assert body["Data"] == {"ImageDigest": "d", "Platforms": "linux/amd64"}


def test_the_platform_list_is_removed_second() -> None:
    data = {"ImageDigest": "d", "Platforms": "linux/amd64," * 400, "Digest.amd64": "d"}
    assert response_of(data=data).body()["Data"] == {"ImageDigest": "d"}


def test_digests_that_fit_are_kept() -> None:
    data = {f"Digest.arch{n}": "sha256:" + "0" * 64 for n in range(20)}
    assert response_of(data=data).body()["Data"] == data


@given(st.integers(1, 253), st.integers(1, 255), st.integers(1, 128), st.integers(0, 200))
@example(253, 255, 128, 0)
@example(253, 255, 128, 200)
def test_a_response_with_names_of_any_length_fits(
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
    body = response_of(
        physical_resource_id=outcome.physical_resource_id,
        stack_id=f"arn:aws:cloudformation:ap-northeast-1:123456789012:stack/{'s' * 128}/{'u' * 36}",
        request_id="u" * 36,
        logical_resource_id="L" * 255,
        data=outcome.attributes(),
    ).body()
    assert _size_bytes(body) <= MAX_RESPONSE_BYTES
    assert body["Data"]["ImageDigest"] == str(outcome.digest)
    assert body["PhysicalResourceId"] == outcome.physical_resource_id


class FakeEndpoint:
    """An endpoint with a list of statuses, the last of which repeats; 0 is no response."""

    def __init__(self, clock: FakeClock, *statuses: int, seconds: float = 0.0) -> None:
        self._clock = clock
        self._statuses = list(statuses)
        self._seconds = seconds
        self.timeouts: list[float] = []
        self.contents: list[bytes] = []

    def put(
        self, url: str, content: bytes, timeout_seconds: float, tls: ssl.SSLContext
    ) -> tuple[int, str]:
        assert url == URL
        assert tls.verify_mode is ssl.CERT_REQUIRED
        self.timeouts.append(timeout_seconds)
        self.contents.append(content)
        self._clock.now += min(self._seconds, timeout_seconds)
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        return status, f"{status} in a test"


def _deliver(
    monkeypatch: pytest.MonkeyPatch,
    *statuses: int,
    budget_seconds: float = 60.0,
    seconds: float = 0.0,
) -> tuple[bool, FakeEndpoint, FakeClock]:
    clock = FakeClock()
    endpoint = FakeEndpoint(clock, *statuses, seconds=seconds)
    # connections are tested against a real endpoint
    monkeypatch.setattr("custom_resource.response._put", endpoint.put)
    is_accepted = deliver(
        URL, {"a": "é"}, budget_seconds=budget_seconds, sleep=clock.sleep, clock=clock
    )
    return is_accepted, endpoint, clock


@pytest.mark.parametrize("status", [200, 204])
def test_an_accepted_response_is_sent_once(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    is_accepted, endpoint, clock = _deliver(monkeypatch, status)
    assert is_accepted
    assert endpoint.contents == [b'{"a": "\\u00e9"}']
    assert clock.slept == []


@pytest.mark.parametrize("status", [0, 408, 425, 429, 500, 502, 503, 504])
def test_temporary_failures_are_retried_with_exponential_backoff(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    is_accepted, endpoint, clock = _deliver(monkeypatch, *[status] * 6, 200)
    assert is_accepted
    assert len(endpoint.contents) == 7
    assert clock.slept == [0.5, 1, 2, 4, 8, 8]


@pytest.mark.parametrize("status", [301, 400, 403, 404, 501])
def test_other_statuses_are_not_retried(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    is_accepted, endpoint, _ = _deliver(monkeypatch, status)
    assert not is_accepted
    assert len(endpoint.contents) == 1


def test_delivery_attempts_end_within_the_time_budget(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    is_accepted, endpoint, clock = _deliver(monkeypatch, 0, budget_seconds=12, seconds=99)
    assert not is_accepted
    assert clock.now <= 1000 + 12
    assert all(seconds <= 5 for seconds in endpoint.timeouts)
    assert "cannot deliver the response to CloudFormation: 0 in a test" in caplog.text
    assert "hunter2" not in caplog.text


def test_delivery_has_one_attempt_even_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    is_accepted, endpoint, clock = _deliver(monkeypatch, 200, budget_seconds=-1)
    assert is_accepted
    assert endpoint.timeouts == [0.1]
    assert clock.slept == []


BUCKET = "cloudformation-custom-resource-response"


@pytest.mark.parametrize(
    "url",
    [
        f"https://{BUCKET}-useast2.s3.us-east-2.amazonaws.com/arn%3Aaws?X-Amz-Signature=a%2Fb",
        f"https://{BUCKET}-useast1.s3.amazonaws.com/x?y#z",
        f"https://{BUCKET}-uswest2.s3-us-west-2.amazonaws.com:443/x",
        f"https://{BUCKET}-eucentral1.s3.dualstack.eu-central-1.amazonaws.com/",
        f"https://{BUCKET}-cnnorth1.s3.cn-north-1.amazonaws.com.cn/x",
        f"https://{BUCKET}-usgovwest1.s3.us-gov-west-1.amazonaws.com/x",
        f"https://{BUCKET}-usisoeast1.s3.us-iso-east-1.c2s.ic.gov/x",
        f"https://{BUCKET}-usisobeast1.s3.us-isob-east-1.sc2s.sgov.gov/x",
        f"https://{BUCKET}-euscdeeast1.s3.eusc-de-east-1.amazonaws.eu/x",
        f"HTTPS://{BUCKET.upper()}-USEAST1.S3.AMAZONAWS.COM/x",
    ],
)
def test_cloudformations_hosts_are_allowed(url: str) -> None:
    assert is_https(url)
    assert is_allowed_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x",
        "https://s3.us-east-1.amazonaws.com/x",
        f"https://{BUCKET}-useast1.s3.us-east-1.amazonaws.com.evil.example/x",
        f"https://{BUCKET}-useast1.evil.example/x",
        f"https://{BUCKET}-useast1.s3.us-east-1.amazonaws.com:8443/x",
        f"https://{BUCKET}-useast1.s3.eu-west-1.amazonaws.com/x",
        f"https://{BUCKET}-mine.s3.us-east-1.amazonaws.com/x",
        f"https://{BUCKET}-useast1.x.s3.us-east-1.amazonaws.com/x",
        f"https://{BUCKET}-useast1.s3-website-us-east-1.amazonaws.com/x",
        f"https://{BUCKET}-useast1.s3x.amazonaws.com/x",
        f"https://user@{BUCKET}-useast1.s3.amazonaws.com/x",
        f"https://evil.example\\@{BUCKET}-useast1.s3.amazonaws.com/x",
        f"https://evil.example#@{BUCKET}-useast1.s3.amazonaws.com/x",
        f"https://{BUCKET}-useast1.s3.amazonaws.com/x y",
        f"https://{BUCKET}-useast1.s3.amazonaws.com/x\r\nHost: evil",
        f"https://{BUCKET}-useast1.s3.amazonaws.com/\u00e9",
        f"https://{BUCKET}-useast1.s3.amazonaws.com/\ud800",
        f"http://{BUCKET}-useast1.s3.amazonaws.com/x",
        f"https://{'a' * 300}.s3.amazonaws.com/x",
        "https:",
        "https:///x",
        "",
    ],
)
def test_other_hosts_and_malformed_urls_are_not_allowed(url: str) -> None:
    assert not is_allowed_url(url)


@pytest.mark.parametrize(
    ("url", "hosts", "is_allowed"),
    [
        ("https://localhost:5003/x", "localhost", True),
        ("https://localhost:5003/x", "one.example, localhost:5003", True),
        ("https://localhost:5004/x", "localhost:5003", False),
        ("https://localhost/x", "localhost:443", True),
        ("https://LOCALHOST/x", "LocalHost", True),
        ("https://other/x", "localhost", False),
        ("https://localhost/x", "", False),
        ("http://localhost/x", "localhost", False),
    ],
)
def test_an_environment_variable_allows_additional_hosts(
    url: str, hosts: str, *, is_allowed: bool
) -> None:
    assert is_allowed_url(url, hosts) is is_allowed


@given(st.text(alphabet="-.a1", max_size=300))
def test_a_host_without_the_suffix_of_a_partition_is_not_allowed(labels: str) -> None:
    assert not is_allowed_url(f"https://{BUCKET}-{labels}.example/")


@pytest.mark.parametrize(
    ("no_proxy", "is_proxied"),
    [
        ("", True),
        ("*.example.com", True),
        ("*.amazonaws.com", False),
        ("example.com, *.AMAZONAWS.com", False),
        (".amazonaws.com", False),
        ("*", False),
    ],
)
def test_no_proxy_applies_to_the_response(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, is_proxied: bool
) -> None:
    connected: list[str] = []

    def refuse(address: tuple[str, int], *_: object, **__: object) -> None:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", refuse)
    for name in ("https_proxy", "no_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.internal:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)

    host = f"{BUCKET}-useast1.s3.amazonaws.com"
    assert not deliver(f"https://{host}/a", {}, budget_seconds=0)
    assert connected == ["proxy.internal" if is_proxied else host]
