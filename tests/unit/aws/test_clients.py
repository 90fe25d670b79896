from __future__ import annotations

from typing import Any

import botocore.exceptions
import pytest

from ecr_image_replicator.aws.clients import (
    AwsCaller,
    AwsClients,
    AwsEndpoint,
    Identity,
    session_name,
)
from ecr_image_replicator.aws.errors import aws_error
from ecr_image_replicator.aws.operations import Operation
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import AwsError, OutOfTimeError, Side
from ecr_image_replicator.retries import RetryPolicy

FUNCTION = Identity(None, Side.DESTINATION)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_ECR", "AWS_LAMBDA_FUNCTION_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")


class NotSentError(Exception):
    """Stands in for the network."""


def _asked_url(client: Any) -> str:
    """Where a client would send a call, by all of botocore's rules."""
    urls: list[str] = []

    def stop(request: Any, **_: Any) -> None:
        urls.append(request.url.rstrip("/"))
        raise NotSentError

    client.meta.events.register("before-send", stop)
    with pytest.raises(NotSentError):
        client.get_authorization_token()
    return urls[0]


def _client(place: AwsEndpoint, *, seconds: float = 900.0, attempts: int = 5) -> Any:
    """The client that a call would be made with; nothing is sent."""
    clients = AwsClients()
    caller = AwsCaller(
        clients,
        FUNCTION,
        deadline=Deadline(seconds),
        retry_policy=RetryPolicy(attempts=attempts),
    )
    return caller.open_client("ecr", place)


@pytest.mark.parametrize(
    ("place", "endpoint"),
    [
        (AwsEndpoint(), "https://api.ecr.eu-west-1.amazonaws.com"),
        (AwsEndpoint("us-east-1"), "https://api.ecr.us-east-1.amazonaws.com"),
        (AwsEndpoint("cn-north-1"), "https://api.ecr.cn-north-1.amazonaws.com.cn"),
        (AwsEndpoint("us-east-1", is_fips=True), "https://api.ecr-fips.us-east-1.amazonaws.com"),
        (AwsEndpoint("us-east-1", is_dual_stack=True), "https://ecr.us-east-1.api.aws"),
        (
            AwsEndpoint("us-east-1", is_fips=True, is_dual_stack=True),
            "https://ecr-fips.us-east-1.api.aws",
        ),
    ],
)
def test_a_registry_s_api_is_spoken_to_as_its_host_is(place: AwsEndpoint, endpoint: str) -> None:
    assert _asked_url(_client(place)) == endpoint


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_ECR"])
def test_a_configured_endpoint_stands_for_all_kinds(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://localhost:4566")

    client = _client(AwsEndpoint("us-east-1", is_fips=True, is_dual_stack=True))

    assert _asked_url(client) == "http://localhost:4566"


@pytest.mark.parametrize(
    ("seconds", "attempts", "expected"),
    [
        (900.0, 5, (20.0, 5)),
        (60.0, 5, (10.0, 5)),
        (30.0, 5, (5.0, 5)),
        (6.0, 5, (1.0, 5)),
        (3.0, 5, (1.0, 1)),
        (900.0, 1, (20.0, 1)),
    ],
)
def test_all_attempts_fit_into_the_time_that_is_left(
    seconds: float, attempts: int, expected: tuple[float, int]
) -> None:
    config = _client(AwsEndpoint(), seconds=seconds, attempts=attempts).meta.config

    assert (config.read_timeout, config.retries["total_max_attempts"]) == expected
    assert config.connect_timeout <= config.read_timeout
    assert config.retries["mode"] == "adaptive"


def test_both_sides_share_the_function_s_own_client() -> None:
    clients = AwsClients()

    def client(side: Side) -> object:
        return AwsCaller(
            clients, Identity(None, side), deadline=Deadline(900), retry_policy=RetryPolicy()
        ).open_client("ecr", AwsEndpoint())

    assert client(Side.SOURCE) is client(Side.DESTINATION)


def test_no_call_is_begun_after_the_deadline() -> None:
    caller = AwsCaller(AwsClients(), FUNCTION, deadline=Deadline(0), retry_policy=RetryPolicy())

    with pytest.raises(OutOfTimeError, match="call ecr:DescribeRepositories"):
        caller.call(Operation.DESCRIBE_REPOSITORY, {}, AwsEndpoint())


def test_a_session_is_named_after_the_side_and_the_function(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert session_name(Side.SOURCE) == "ecr-image-replicator-source"

    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "stack-ReplicatorFunction-" + "A" * 60)
    name = session_name(Side.DESTINATION)
    assert name.startswith("ecr-image-replicator-destination-stack-Replicator")
    assert len(name) == 64


def _client_error(code: str, message: str) -> botocore.exceptions.ClientError:
    return botocore.exceptions.ClientError(
        {"Error": {"Code": code, "Message": message}}, "DescribeRepositories"
    )


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (
            _client_error("AccessDeniedException", "User: x is not\nauthorized"),
            "was refused (AccessDeniedException: User: x is not authorized)",
        ),
        (_client_error("ThrottlingException", ""), "was refused (ThrottlingException)"),
        (botocore.exceptions.NoCredentialsError(), "failed: there are no AWS credentials"),
        (
            botocore.exceptions.EndpointConnectionError(endpoint_url="https://x/?hunter2"),
            "failed: the service was not reached",
        ),
        (
            botocore.exceptions.ReadTimeoutError(endpoint_url="https://x/?hunter2"),
            "failed: the service did not answer in time",
        ),
        (
            botocore.exceptions.ParamValidationError(
                report="Invalid type for parameter tags[0].Value, value: hunter2, type: <x>"
            ),
            "failed: a value is not of the form that it takes (tags[0].Value)",
        ),
        (
            botocore.exceptions.HTTPClientError(error="https://x/?hunter2"),
            "failed: the connection failed",
        ),
    ],
)
def test_what_botocore_raises_is_one_sentence_without_a_secret(
    fault: Exception, sentence: str
) -> None:
    error = aws_error(fault, Operation.DESCRIBE_REPOSITORY, "the function's role")

    assert isinstance(error, AwsError)
    assert str(error) == f"ecr:DescribeRepositories by the function's role {sentence}"
    assert error.is_denied is ("AccessDenied" in sentence)
