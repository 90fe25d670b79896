from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint


@pytest.fixture
def endpoint(authority: CertificateAuthority) -> Iterator[CloudFormationEndpoint]:
    with CloudFormationEndpoint(authority.server_context()) as served:
        yield served


def put(authority: CertificateAuthority, url: str, body: bytes, **headers: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPSConnection(
        parts.netloc, context=authority.client_context(), timeout=60
    )
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request("PUT", f"{parts.path}?{parts.query}", body, named)
        return connection.getresponse().status
    finally:
        connection.close()


def response_to(event: dict[str, Any], **changes: Any) -> bytes:
    response = {
        "Status": "SUCCESS",
        "PhysicalResourceId": "id",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Data": {"ImageDigest": "sha256:1"},
        **changes,
    }
    return json.dumps(
        {name: value for name, value in response.items() if value is not None}
    ).encode()


def test_a_valid_response_is_accepted(
    authority: CertificateAuthority, endpoint: CloudFormationEndpoint
) -> None:
    event = endpoint.event("Create", {"SrcImage": "a"})
    assert put(authority, event["ResponseURL"], response_to(event)) == 200
    response = endpoint.wait_for_response(event["RequestId"])
    assert (response.status, response.physical_resource_id) == ("SUCCESS", "id")
    assert response.data == {"ImageDigest": "sha256:1"}
    assert endpoint.violations == ()


def test_duplicate_responses_are_recorded(
    authority: CertificateAuthority, endpoint: CloudFormationEndpoint
) -> None:
    event = endpoint.event("Delete", {}, physical_resource_id="id")
    for _ in range(2):
        put(authority, event["ResponseURL"], response_to(event))
    assert [response.request_id for response in endpoint.responses] == [event["RequestId"]] * 2


def test_waiting_for_a_missing_response_times_out(endpoint: CloudFormationEndpoint) -> None:
    with pytest.raises(TimeoutError, match="no response to r-1"):
        endpoint.wait_for_response("r-1", timeout_seconds=0.05)


@pytest.mark.parametrize(
    ("changes", "violation"),
    [
        ({"Status": "OK"}, "Status is 'OK'"),
        ({"Status": "FAILED"}, "Reason is required"),
        ({"Status": "FAILED", "Reason": ""}, "Reason is required"),
        ({"PhysicalResourceId": None}, "PhysicalResourceId is not a string"),
        ({"PhysicalResourceId": ""}, "PhysicalResourceId has 0 bytes"),
        ({"PhysicalResourceId": "é" * 513}, "PhysicalResourceId has 1026 bytes"),
        ({"RequestId": "other"}, "RequestId is 'other'"),
        ({"StackId": "other"}, "StackId is 'other'"),
        ({"LogicalResourceId": None}, "LogicalResourceId is missing"),
        ({"Data": []}, "Data is not an object"),
        ({"Data": {"a": "x" * 4096}}, "4096 are allowed"),
        ({"NoEcho": "true"}, "NoEcho is not a Boolean"),
        ({"Extra": 1}, "unknown: Extra"),
    ],
)
def test_a_response_that_breaks_a_rule_is_a_violation(
    authority: CertificateAuthority,
    endpoint: CloudFormationEndpoint,
    changes: dict[str, Any],
    violation: str,
) -> None:
    event = endpoint.event("Create", {})
    assert put(authority, event["ResponseURL"], response_to(event, **changes)) == 200
    (found,) = endpoint.violations
    assert violation in found
    assert endpoint.responses[0].violations == (found,)


@pytest.mark.parametrize("length", [4096, 4097])
def test_a_response_may_have_4096_bytes(
    authority: CertificateAuthority, endpoint: CloudFormationEndpoint, length: int
) -> None:
    event = endpoint.event("Create", {})
    body = response_to(event)
    assert put(authority, event["ResponseURL"], body + b" " * (length - len(body))) == 200
    assert len(endpoint.violations) == length - 4096


def test_a_response_that_is_not_json_is_a_violation(
    authority: CertificateAuthority, endpoint: CloudFormationEndpoint
) -> None:
    put(authority, endpoint.response_url("r"), b"hello")
    assert endpoint.violations == ("the response is not a JSON object",)


def test_a_content_type_breaks_the_signature(
    authority: CertificateAuthority, endpoint: CloudFormationEndpoint
) -> None:
    event = endpoint.event("Create", {})
    url, body = event["ResponseURL"], response_to(event)
    assert put(authority, url, body, Content_Type="application/json") == 403
    assert endpoint.responses == ()
    assert "SignatureDoesNotMatch" in endpoint.violations[0]
    assert put(authority, url, body, Content_Type="") == 200


def test_a_wrong_signature_or_request_is_rejected(
    authority: CertificateAuthority, endpoint: CloudFormationEndpoint
) -> None:
    url = endpoint.response_url("r-1")
    assert put(authority, url[:-4] + "0000", b"{}") == 403
    assert put(authority, url.replace("r-1", "r-2"), b"{}") == 403
    assert put(authority, f"{endpoint.url}/elsewhere", b"{}") == 403
    assert endpoint.responses == ()


def test_the_endpoint_can_return_errors_first(authority: CertificateAuthority) -> None:
    with CloudFormationEndpoint(authority.server_context(), statuses=[500, 503]) as endpoint:
        event = endpoint.event("Create", {})
        url = event["ResponseURL"]
        assert [put(authority, url, response_to(event)) for _ in range(3)] == [500, 503, 200]
        assert len(endpoint.responses) == 1
        assert endpoint.violations == ()


def test_an_update_event_has_the_old_properties_and_the_physical_id(
    endpoint: CloudFormationEndpoint,
) -> None:
    event = endpoint.event(
        "Update", {"A": "2"}, physical_resource_id="p", old_properties={"A": "1"}
    )
    assert event["PhysicalResourceId"] == "p"
    assert event["OldResourceProperties"]["A"] == "1"
    assert event["ResourceProperties"]["A"] == "2"
