from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from local.aws import DEFAULT_ACCOUNT, DEFAULT_REGION, LoopbackAws
from tests.local.ecr_client import REPOSITORY, password_of, repository_in, sign_in
from tests.local.wire_client import FakeClock, WireClient, basic

ClientFactory = Callable[[str], WireClient]
HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
OTHER_ROLE = "arn:aws:iam::999999999999:role/reader"
EXPIRED = "Your authorization token has expired. Reauthenticate and try again."


def test_the_challenge_is_basic_and_its_body_is_plain_text(client_for: ClientFactory) -> None:
    response = client_for(HOST).send("GET", "/v2/")
    assert response.status == 401
    assert response.headers["www-authenticate"] == (
        f'Basic realm="https://{HOST}/",service="ecr.amazonaws.com"'
    )
    assert response.headers["content-type"].startswith("text/plain")
    assert response.body == b"Not Authorized\n"


def test_an_api_token_is_a_valid_password_for_twelve_hours(
    aws: LoopbackAws, client_for: ClientFactory, clock: FakeClock
) -> None:
    data = aws.client("ecr").get_authorization_token()["authorizationData"][0]
    assert data["proxyEndpoint"] == f"https://{HOST}"
    assert data["expiresAt"] == datetime.fromtimestamp(clock.now + 12 * 3600, UTC)
    client = client_for(HOST)
    authorization = f"Basic {data['authorizationToken']}"
    assert client.send("GET", "/v2/", Authorization=authorization).status == 200
    clock.now += 12 * 3600
    assert client.send("GET", "/v2/", Authorization=authorization).status == 403


@pytest.mark.parametrize("status", [401, 403])
def test_an_expired_token_is_denied(
    aws: LoopbackAws, client_for: ClientFactory, status: int
) -> None:
    if status == 401:
        aws.ecr().quirks.expired_token_status = 401
    authorization = aws.authorization()
    aws.expire_tokens()
    response = client_for(HOST).send("GET", "/v2/", Authorization=authorization)
    assert (response.status, response.error_code, response.error_message) == (
        status,
        "DENIED",
        EXPIRED,
    )
    assert ("www-authenticate" in response.headers) == (status == 401)


def test_an_invalid_token_is_rejected_without_a_challenge(
    aws: LoopbackAws, client_for: ClientFactory
) -> None:
    password = password_of(sign_in(aws))
    client = client_for(HOST)
    for wrong in (
        basic("AWS", "guess"),
        basic("ann", password),
        "Basic %%%",
        f"Bearer {password}",
        sign_in(aws, region="us-east-1"),
    ):
        response = client.send("GET", "/v2/", Authorization=wrong)
        assert (response.status, response.error_code) == (400, "DENIED")
        assert "www-authenticate" not in response.headers


def test_the_request_log_has_no_passwords(aws: LoopbackAws, client_for: ClientFactory) -> None:
    authorization = aws.authorization()
    client_for(HOST).send("GET", "/v2/", Authorization=authorization)
    assert password_of(authorization) not in repr([vars_of(each) for each in aws.requests])


def vars_of(entry: object) -> list[object]:
    return [getattr(entry, name) for name in entry.__slots__]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("account", "region", "form"),
    [
        ("123456789012", "eu-west-1", "{a}.dkr.ecr.{r}.amazonaws.com"),
        ("123456789012", "eu-west-1", "{a}.dkr.ecr-fips.{r}.amazonaws.com"),
        ("123456789012", "eu-west-1", "{a}.dkr-ecr.{r}.on.aws"),
        ("123456789012", "eu-west-1", "{a}.dkr-ecr-fips.{r}.on.aws"),
        ("210987654321", "us-gov-west-1", "{a}.dkr.ecr-fips.{r}.amazonaws.com"),
        ("210987654321", "cn-north-1", "{a}.dkr.ecr.{r}.amazonaws.com.cn"),
        ("210987654321", "cn-north-1", "{a}.dkr-ecr.{r}.on.amazonwebservices.com.cn"),
        ("210987654321", "us-iso-east-1", "{a}.dkr.ecr.{r}.c2s.ic.gov"),
        ("210987654321", "us-isob-east-1", "{a}.dkr.ecr.{r}.sc2s.sgov.gov"),
        ("210987654321", "eu-isoe-west-1", "{a}.dkr.ecr.{r}.cloud.adc-e.uk"),
        ("210987654321", "us-isof-south-1", "{a}.dkr.ecr.{r}.csp.hci.ic.gov"),
        ("210987654321", "eusc-de-east-1", "{a}.dkr.ecr.{r}.amazonaws.eu"),
    ],
)
def test_a_registry_is_reachable_by_each_of_its_host_names(
    aws: LoopbackAws, client_for: ClientFactory, account: str, region: str, form: str
) -> None:
    host = form.format(a=account, r=region)
    response = client_for(host).send("GET", "/v2/")
    assert response.headers["www-authenticate"].startswith(f'Basic realm="https://{host}/"')
    assert len(aws.requests_to(aws.ecr(account, region))) == 1


@pytest.mark.parametrize(
    "host",
    [
        "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com.example.com",
        "x123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr.amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.org",
    ],
)
def test_an_unknown_host_similar_to_a_registry_host_is_rejected(
    client_for: ClientFactory, host: str
) -> None:
    with pytest.raises(OSError, match="403"):
        client_for(host).send("GET", "/v2/")


def test_each_account_and_region_has_a_separate_registry(
    aws: LoopbackAws, client_for: ClientFactory
) -> None:
    image = repository_in(aws.ecr())
    assert REPOSITORY in aws.ecr(DEFAULT_ACCOUNT, DEFAULT_REGION).store.repositories
    assert aws.ecr(DEFAULT_ACCOUNT, "us-east-1").store.repositories == ()
    assert aws.ecr("999999999999").store.repositories == ()
    client = client_for(HOST)
    target = f"/v2/{REPOSITORY}/manifests/1"
    response = client.send("GET", target, Authorization=aws.authorization())
    assert response.body == image.manifest


def test_a_repository_policy_grants_access_to_another_account(
    aws: LoopbackAws, client_for: ClientFactory
) -> None:
    registry = aws.ecr()
    image = repository_in(registry)
    authorization = sign_in(aws, role=OTHER_ROLE)
    client = client_for(HOST)
    target = f"/v2/{REPOSITORY}/manifests/1"
    rejected = client.send("GET", target, Authorization=authorization)
    assert (rejected.status, rejected.error_code) == (403, "DENIED")
    assert "arn:aws:sts::999999999999:assumed-role/reader/seed is not authorized" in (
        rejected.error_message
    )
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::999999999999:root"},
        "Action": ["ecr:BatchGet*", "ecr:GetDownloadUrlForLayer"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    aws.client("ecr").set_repository_policy(repositoryName=REPOSITORY, policyText=policy)
    assert client.send("GET", target, Authorization=authorization).body == image.manifest
    push = client.send("POST", f"/v2/{REPOSITORY}/blobs/uploads/", b"", Authorization=authorization)
    assert (push.status, push.error_code) == (403, "DENIED")


@pytest.mark.parametrize("principal", [OTHER_ROLE, "999999999999", "*"])
def test_repository_policy_principal_formats(
    aws: LoopbackAws, client_for: ClientFactory, principal: str
) -> None:
    repository_in(aws.ecr())
    statements: list[dict[str, object]] = [
        {"Effect": "Allow", "Principal": {"AWS": [principal]}, "Action": "ecr:*"}
    ]
    aws.ecr().change_repository(REPOSITORY, policy=json.dumps({"Statement": statements}))
    authorization = sign_in(aws, role=OTHER_ROLE)
    client = client_for(HOST)
    target = f"/v2/{REPOSITORY}/manifests/1"
    assert client.send("GET", target, Authorization=authorization).status == 200
    statements.append({"Effect": "Deny", "Principal": "*", "Action": "ecr:BatchGetImage"})
    aws.ecr().change_repository(REPOSITORY, policy=json.dumps({"Statement": statements}))
    assert client.send("GET", target, Authorization=authorization).status == 403


def test_a_denied_action_is_denied_in_the_registry_protocol(
    aws: LoopbackAws, client_for: ClientFactory
) -> None:
    repository_in(aws.ecr())
    authorization = aws.authorization()
    aws.ecr().quirks.denied_actions |= {"ecr:BatchGetImage", "ecr:InitiateLayerUpload"}
    client = client_for(HOST)
    response = client.send("GET", f"/v2/{REPOSITORY}/manifests/1", Authorization=authorization)
    assert (response.status, response.error_code) == (403, "DENIED")
    assert response.error_message.endswith(
        "is not authorized to perform: ecr:BatchGetImage on resource: "
        f"arn:aws:ecr:eu-west-1:123456789012:repository/{REPOSITORY} because no identity-based "
        "policy allows the ecr:BatchGetImage action"
    )
    start = f"/v2/{REPOSITORY}/blobs/uploads/"
    assert client.send("POST", start, b"", Authorization=authorization).status == 403
    aws.ecr().quirks.drops_denied_uploads = True
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        client.send("POST", start, b"", Authorization=authorization)
    assert aws.requests[-1].status == 0
