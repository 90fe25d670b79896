from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import botocore.exceptions
import botocore.loaders
import pytest
from tests.unit.builders import FakeClock

from ecr_image_replicator.aws.clients import (
    AwsCaller,
    AwsClients,
    AwsEndpoint,
    Identity,
    session_name,
)
from ecr_image_replicator.aws.errors import aws_error
from ecr_image_replicator.aws.operations import Operation
from ecr_image_replicator.aws.sessions import AwsAccess
from ecr_image_replicator.cli.exit_codes import Exit, exit_status
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import AwsError, OutOfTimeError, SecretError, Side
from ecr_image_replicator.request.roles import AssumedRole
from ecr_image_replicator.request.secret_formats import SecretReference
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
    """Raised instead of sending a request."""


def _endpoint_of(client: Any) -> str:
    """Return the URL that a client sends calls to."""
    urls: list[str] = []

    def stop(request: Any, **_: Any) -> None:
        urls.append(request.url.rstrip("/"))
        raise NotSentError

    client.meta.events.register("before-send", stop)
    with pytest.raises(NotSentError):
        client.get_authorization_token()
    return urls[0]


def _client(endpoint: AwsEndpoint, *, seconds: float = 900.0, attempts: int = 5) -> Any:
    """Return the client of a call, without sending the call."""
    clients = AwsClients()
    caller = AwsCaller(
        clients,
        FUNCTION,
        deadline=Deadline(seconds, clock=FakeClock()),
        retry_policy=RetryPolicy(attempts=attempts),
    )
    return caller.open_client("ecr", endpoint)


@pytest.mark.parametrize(
    ("endpoint", "url"),
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
def test_the_api_endpoint_matches_the_fips_and_dual_stack_kind_of_the_registry(
    endpoint: AwsEndpoint, url: str
) -> None:
    assert _endpoint_of(_client(endpoint)) == url


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_ECR"])
def test_a_configured_endpoint_overrides_fips_and_dual_stack(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://localhost:4566")

    client = _client(AwsEndpoint("us-east-1", is_fips=True, is_dual_stack=True))

    assert _endpoint_of(client) == "http://localhost:4566"


_ECR_API = "https://api.ecr.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("no_proxy", "endpoint", "is_direct"),
    [
        ("", _ECR_API, False),
        ("*.amazonaws.com", _ECR_API, True),
        ("amazonaws.com", _ECR_API, True),
        ("*.example.com", _ECR_API, False),
        ("", "https://127.0.0.1:4566", True),
        ("", "https://localhost:4566", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://192.0.2.1", False),
        ("fd00::/8", "https://[fd00::1]:4566", True),
    ],
)
def test_aws_is_reached_directly_where_no_proxy_says_so(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, endpoint: str, is_direct: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    if endpoint != _ECR_API:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    client = _client(AwsEndpoint())
    assert client.meta.endpoint_url == endpoint
    proxies = client._endpoint.http_session._proxy_config  # noqa: SLF001 - nothing is sent
    proxy = proxies.proxy_url_for(endpoint)
    assert proxy == (None if is_direct else "http://proxy.example:3128")


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
def test_timeouts_and_attempts_fit_into_the_remaining_time(
    seconds: float, attempts: int, expected: tuple[float, int]
) -> None:
    config = _client(AwsEndpoint(), seconds=seconds, attempts=attempts).meta.config

    assert (config.read_timeout, config.retries["total_max_attempts"]) == expected
    assert config.connect_timeout <= config.read_timeout
    assert config.retries["mode"] == "adaptive"


def test_both_endpoints_share_the_client_of_the_function_role() -> None:
    clients = AwsClients()

    def client(side: Side) -> object:
        return AwsCaller(
            clients, Identity(None, side), deadline=Deadline(900), retry_policy=RetryPolicy()
        ).open_client("ecr", AwsEndpoint())

    assert client(Side.SOURCE) is client(Side.DESTINATION)


def _client_of_role(clients: AwsClients, number: int) -> Any:
    role = AssumedRole(f"arn:aws:iam::{number:012}:role/push")
    identity = Identity(role, Side.DESTINATION)
    caller = AwsCaller(clients, identity, deadline=Deadline(900), retry_policy=RetryPolicy())
    return caller.open_client("ecr", AwsEndpoint())


def test_sessions_of_roles_share_the_parsed_models_of_services(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # instead of the loader that all tests share
    monkeypatch.setattr("botocore.session.create_loader", botocore.loaders.create_loader)
    clients = AwsClients()
    first, second = _client_of_role(clients, 1), _client_of_role(clients, 2)

    assert first is not second
    assert first.meta.service_model.metadata is second.meta.service_model.metadata


def test_the_client_of_the_role_that_was_not_used_for_longest_is_released() -> None:
    clients = AwsClients()
    kept, oldest = _client_of_role(clients, 0), weakref.ref(_client_of_role(clients, 1))
    for number in range(2, 33):
        assert _client_of_role(clients, 0) is kept
        _client_of_role(clients, number)
    gc.collect()

    assert oldest() is None
    assert _client_of_role(clients, 0) is kept


def test_a_call_after_the_deadline_is_out_of_time() -> None:
    caller = AwsCaller(AwsClients(), FUNCTION, deadline=Deadline(0), retry_policy=RetryPolicy())

    with pytest.raises(OutOfTimeError, match="call ecr:DescribeRepositories"):
        caller.call(Operation.DESCRIBE_REPOSITORY, {}, AwsEndpoint())


def test_a_session_name_has_the_endpoint_and_the_function(
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
    ("fault", "reason", "hint"),
    [
        (
            _client_error("AccessDeniedException", "User: x is not\nauthorized"),
            "access denied (AccessDeniedException: User: x is not authorized)",
            "",
        ),
        (_client_error("ThrottlingException", ""), "rate limit exceeded (ThrottlingException)", ""),
        (_client_error("NoSuchKey", "no"), "not found (NoSuchKey: no)", ""),
        (
            _client_error("RepositoryNotFoundException", "no"),
            "not found (RepositoryNotFoundException: no)",
            "",
        ),
        (_client_error("InvalidParameter", "no"), "rejected (InvalidParameter: no)", ""),
        (
            botocore.exceptions.NoCredentialsError(),
            "no AWS credentials found",
            ". Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
        ),
        (
            botocore.exceptions.EndpointConnectionError(endpoint_url="https://x/?hunter2"),
            "cannot connect to the service",
            ". Check the network, and VPC endpoints if the function is in a VPC.",
        ),
        (
            botocore.exceptions.ReadTimeoutError(endpoint_url="https://x/?hunter2"),
            "the response timed out",
            "",
        ),
        (
            botocore.exceptions.ParamValidationError(
                report="Invalid type for parameter tags[0].Value, value: hunter2, type: <x>"
            ),
            "invalid parameter tags[0].Value",
            "",
        ),
        (
            _client_error("ExpiredTokenException", "The security token has expired"),
            "authentication failed (ExpiredTokenException: The security token has expired)",
            ". Check that the AWS credentials are valid and the clock is right.",
        ),
        (
            botocore.exceptions.HTTPClientError(error="https://x/?hunter2"),
            "the connection failed",
            "",
        ),
        (
            botocore.exceptions.UnauthorizedSSOTokenError(),
            "no valid AWS SSO session found",
            ". Run `aws sso login`.",
        ),
        (
            botocore.exceptions.TokenRetrievalError(provider="sso", error_msg="hunter2"),
            "no valid AWS SSO session found",
            ". Run `aws sso login`.",
        ),
        (
            botocore.exceptions.LoginTokenLoadError(error_msg="hunter2"),
            "no valid AWS login session found",
            ". Run `aws login`.",
        ),
        (
            botocore.exceptions.ConfigParseError(path="hunter2"),
            "invalid AWS configuration",
            ". Check the variables of AWS, such as AWS_ENDPOINT_URL, and its configuration files.",
        ),
        (
            botocore.exceptions.MetadataRetrievalError(error_msg="hunter2"),
            "botocore raised MetadataRetrievalError",
            "",
        ),
    ],
)
def test_the_message_for_a_failed_call_contains_no_secrets(
    fault: Exception, reason: str, hint: str
) -> None:
    error = aws_error(fault, Operation.DESCRIBE_REPOSITORY)

    assert isinstance(error, AwsError)
    assert str(error) == f"ecr:DescribeRepositories failed: {reason}{hint}"
    assert error.reason == reason
    assert error.is_denied is ("access denied" in reason)
    assert not error.is_explicit_deny


def test_the_error_for_an_invalid_endpoint_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:4566?hunter2")
    caller = AwsAccess().open_caller(
        None, Side.SOURCE, deadline=Deadline(10), retry_policy=RetryPolicy()
    )

    with pytest.raises(AwsError) as caught:
        caller.call(Operation.READ_OBJECT, {}, AwsEndpoint("eu-west-1"))

    assert str(caught.value) == (
        "s3:GetObject failed: invalid AWS configuration. Check the variables of AWS, such as "
        "AWS_ENDPOINT_URL, and its configuration files."
    )
    assert exit_status(caught.value) is Exit.USAGE


def test_an_explicit_deny_is_recognized_by_its_message() -> None:
    message = f"User: {'x' * 400} is not authorized, with an explicit deny in a policy"

    assert aws_error(_client_error("AccessDenied", message), Operation.READ_OBJECT).is_explicit_deny


def test_the_error_for_a_missing_region_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    caller = AwsAccess().open_caller(
        None, Side.DESTINATION, deadline=Deadline(10), retry_policy=RetryPolicy()
    )

    with pytest.raises(SecretError) as caught:
        AwsAccess().open_secret(SecretReference("alice"), "app", caller).find("ghcr.io")

    assert caught.value.render(str) == (
        "cannot read the secret alice in destination_credentials: secretsmanager:GetSecretValue "
        "failed: no AWS region is set. Set AWS_REGION."
    )
