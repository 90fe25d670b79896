"""Errors of ECR's API: their messages, and the errors that are ignored."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NoReturn

import pytest
from local.aws import LoopbackAws
from local.images import build_image, build_index, build_layer
from local.images.manifests import Image
from local.registry import RegistryServer
from tests.functional.conftest import Function

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.errors import Side, TransientError, UnknownHostError
from ecr_image_replicator.registry.destination import RegistryDestination
from ecr_image_replicator.registry.http.session import ConnectionTimeoutError
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings
from ecr_image_replicator.retries import retries_exhausted

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
DESTINATION = f"{HOST}/mirror/app:1.0"
ARN = "arn:aws:ecr:eu-west-1:123456789012:repository/mirror/app"


def _identity(replicator: Replicator) -> Replicator:
    return replicator


def _image(seed: int = 1) -> Image:
    return build_image([build_layer(5000, seed=seed)])


def _deny(aws: LoopbackAws, *actions: str) -> None:
    aws.ecr().quirks.denied_actions.update(actions)


def test_the_message_for_a_denied_createrepository_names_the_permission(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1")
    _deny(aws, "ecr:CreateRepository")

    response = aws_function.create("nginx:1", DESTINATION, CreateRepository="true")

    assert response["Status"] == "FAILED"
    reason = response["Reason"]
    assert reason.startswith(
        "cannot create ECR repository mirror/app in account 123456789012, region eu-west-1: "
        "ecr:CreateRepository failed: access denied (AccessDeniedException: User: "
    ), reason
    assert f"is not authorized to perform: ecr:CreateRepository on resource: {ARN}" in reason
    assert "). Allow ecr:CreateRepository on the repository." in reason


@pytest.mark.parametrize(
    "cause",
    [
        UnknownHostError("cannot connect to ecr: DNS lookup failed"),
        ConnectionTimeoutError("cannot connect to ecr: connection timed out"),
        TransientError("cannot connect to ecr: connection refused", hint="Check the port."),
    ],
)
def test_an_unreachable_registry_is_not_taken_for_a_missing_permission(
    aws: LoopbackAws,
    aws_function: Function,
    monkeypatch: pytest.MonkeyPatch,
    cause: TransientError,
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1")
    aws.ecr().create_repository("mirror/app")

    def fail(*_: object) -> NoReturn:
        raise retries_exhausted(cause, Side.DESTINATION, 5) from cause

    monkeypatch.setattr(RegistryDestination, "open_upload", fail)

    response = aws_function.create("nginx:1", DESTINATION)

    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith(f"{cause.message[0]} after 5 attempts. ")
    assert "InitiateLayerUpload" not in response["Reason"]


def test_the_message_for_a_rejected_policy_mentions_the_new_repository(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1")

    response = aws_function.create(
        "nginx:1", DESTINATION, CreateRepository={"RepositoryPolicy": {"Version": "2012-10-17"}}
    )

    assert response["Reason"].startswith(
        "cannot set the repository policy of the new ECR repository mirror/app in account "
        "123456789012, region eu-west-1: ecr:SetRepositoryPolicy failed: rejected "
        "(InvalidParameterException: "
    ), response["Reason"]
    assert (
        "). Delete the new repository and deploy again: policies are set only when it is created."
        in response["Reason"]
    ), response["Reason"]


def test_the_message_for_a_denied_policy_says_that_the_new_repository_lacks_it(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1")
    aws.ecr().quirks.denied_actions.add("ecr:PutLifecyclePolicy")
    selection = {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": "1"}
    rule = {"rulePriority": "1", "selection": selection, "action": {"type": "expire"}}

    response = aws_function.create(
        "nginx:1", DESTINATION, CreateRepository={"LifecyclePolicy": {"rules": [rule]}}
    )

    assert (
        "delete it and deploy again: policies are set only when it is created. Log"
        in response["Reason"]
    ), response["Reason"]


def test_a_throttled_api_call_fails_after_numattempts(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1")
    aws.ecr().create_repository("mirror/app")
    aws.ecr().quirks.throttled_actions["ecr:BatchCheckLayerAvailability"] = 100

    response = aws_function.create("nginx:1", DESTINATION, RetryConfigs={"numAttempts": 2})

    assert response["Reason"].startswith(
        "cannot list the layers of ECR repository mirror/app in account 123456789012, region "
        "eu-west-1: ecr:BatchCheckLayerAvailability failed: rate limit exceeded (Throttl"
    ), response["Reason"]
    calls = [c for c in aws.ecr().calls if c.operation == "BatchCheckLayerAvailability"]
    assert len(calls) == 2


def test_the_message_for_a_denied_push_names_the_image(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1")
    aws.ecr().create_repository("mirror/app")
    _deny(aws, "ecr:PutImage")

    response = aws_function.create("nginx:1", DESTINATION)

    assert response["Reason"].startswith(
        f"cannot push {DESTINATION}: access denied (403 Forbidden, DENIED: "
    ), response["Reason"]
    assert "ECR's token" in response["Reason"]


def test_the_message_for_a_denied_pull_contains_ecrs_message(
    aws: LoopbackAws, aws_function: Function, registries: Callable[..., RegistryServer]
) -> None:
    aws.ecr().put(_image(), "team/app", "1")
    _deny(aws, "ecr:BatchGetImage")

    response = aws_function.create(f"{HOST}/team/app:1", f"{registries().host}/team/app:1")

    assert "is not authorized to perform: ecr:BatchGetImage" in response["Reason"], response[
        "Reason"
    ]


def test_concurrent_functions_can_create_the_same_repository(aws: LoopbackAws) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1")
    replicators = [Replicator(Settings()) for _ in range(3)]
    functions = [Function(ReplicationResource(partial(_identity, each))) for each in replicators]

    def create(numbered: tuple[int, Function]) -> dict[str, Any]:
        number, function = numbered
        return function.create("nginx:1", f"{HOST}/mirror/app:{number}", CreateRepository="true")

    with ThreadPoolExecutor(3) as pool:
        responses = list(pool.map(create, enumerate(functions)))
    for each in replicators:
        each.close()

    assert [response["Status"] for response in responses] == ["SUCCESS"] * 3, responses
    assert set(aws.ecr().store.tags("mirror/app")) == {"0", "1", "2"}
    errors = [call.error for call in aws.ecr().calls if call.operation == "CreateRepository"]
    assert errors.count(None) == 1
    assert set(errors) <= {None, "RepositoryAlreadyExistsException"}


def test_the_last_tag_of_an_image_in_an_index_is_kept_and_logged(
    aws: LoopbackAws, aws_function: Function, caplog: pytest.LogCaptureFixture
) -> None:
    child = build_image([build_layer(5000, seed=1)], "linux/amd64")
    aws.docker_hub.put(child, "library/nginx", "1")
    aws.ecr().create_repository("mirror/app")
    response = aws_function.create("nginx:1", DESTINATION, OnDelete="Untag")
    assert response["Status"] == "SUCCESS", response["Reason"]
    index = build_index([child])
    aws.ecr().put(index, "mirror/app", "index")

    deleted = aws_function.delete(response["PhysicalResourceId"], DESTINATION, OnDelete="Untag")

    assert deleted["Status"] == "SUCCESS", deleted["Reason"]
    assert aws.ecr().store.tags("mirror/app") == {"index": index.digest, "1.0": child.digest}
    kept = [vars(each).get("tags") for each in caplog.records if "ECR keeps tags" in each.message]
    assert kept == [["1.0"]]
    assert aws.ecr().store.find_manifest("mirror/app", child.digest) is not None


def test_a_405_of_a_manifest_push_is_not_retried(aws: LoopbackAws, aws_function: Function) -> None:
    image = build_image([build_layer(5000, seed=1)], media_type_in_body=False)
    aws.docker_hub.put(image, "library/nginx", "1")
    aws.ecr().create_repository("mirror/app")
    aws.ecr().quirks.rejects_bodies_without_media_type = True

    response = aws_function.create("nginx:1", DESTINATION)

    assert response["Status"] == "FAILED"
    assert "(405 Method Not Allowed, UNSUPPORTED: " in response["Reason"], response["Reason"]
    puts = [each for each in aws.requests_to(aws.ecr()) if each.method == "PUT"]
    assert [each.status for each in puts if "/manifests/" in each.path] == [405]
    assert aws.ecr().store.tags("mirror/app") == {}
