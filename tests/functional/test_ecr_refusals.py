"""Every refusal of ECR's API as a sentence, and the ones that are no failure."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from local.aws import LoopbackAws
from local.images import build_image, build_index, build_layer
from local.images.manifests import Image
from local.registry import RegistryServer
from tests.functional.conftest import Function

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
DESTINATION = f"{HOST}/mirror/app:1.0"
ARN = "arn:aws:ecr:eu-west-1:123456789012:repository/mirror/app"


def _itself(replicator: Replicator) -> Replicator:
    return replicator


def _image(seed: int = 1) -> Image:
    return build_image([build_layer(5000, seed=seed)])


def _deny(aws: LoopbackAws, *actions: str) -> None:
    aws.ecr().quirks.denied_actions.update(actions)


def test_a_repository_that_may_not_be_made_names_the_permission(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1")
    _deny(aws, "ecr:CreateRepository")

    answer = aws_function.create("nginx:1", DESTINATION, CreateRepository="true")

    assert answer["Status"] == "FAILED"
    reason = answer["Reason"]
    assert reason.startswith(
        "cannot create ECR repository mirror/app in account 123456789012, region eu-west-1: "
        "ecr:CreateRepository failed: access denied (AccessDeniedException: User: "
    ), reason
    assert f"is not authorized to perform: ecr:CreateRepository on resource: {ARN}" in reason
    assert "). Allow ecr:CreateRepository on the repository." in reason


def test_a_policy_that_is_refused_says_that_the_repository_is_there(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1")

    answer = aws_function.create(
        "nginx:1", DESTINATION, CreateRepository={"RepositoryPolicy": {"Version": "2012-10-17"}}
    )

    assert answer["Reason"].startswith(
        "cannot set the repository policy of the new ECR repository mirror/app in account "
        "123456789012, region eu-west-1: ecr:SetRepositoryPolicy failed: rejected "
        "(InvalidParameterException: "
    ), answer["Reason"]


def test_an_api_that_keeps_throttling_is_given_up_after_the_attempts_asked_for(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1")
    aws.ecr().create_repository("mirror/app")
    aws.ecr().quirks.throttled_actions["ecr:BatchCheckLayerAvailability"] = 100

    answer = aws_function.create("nginx:1", DESTINATION, RetryConfigs={"numAttempts": 2})

    assert answer["Reason"].startswith(
        "cannot list the layers of ECR repository mirror/app in account 123456789012, region "
        "eu-west-1: ecr:BatchCheckLayerAvailability failed: rate limit exceeded (Throttl"
    ), answer["Reason"]
    calls = [c for c in aws.ecr().calls if c.operation == "BatchCheckLayerAvailability"]
    assert len(calls) == 2


def test_a_push_that_is_denied_names_what_it_was_for(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1")
    aws.ecr().create_repository("mirror/app")
    _deny(aws, "ecr:PutImage")

    answer = aws_function.create("nginx:1", DESTINATION)

    assert answer["Reason"].startswith(
        f"cannot push {DESTINATION}: access denied (403 Forbidden, DENIED: "
    ), answer["Reason"]
    assert "ECR's token" in answer["Reason"]


def test_a_source_that_is_denied_brings_ecr_s_own_words(
    aws: LoopbackAws, aws_function: Function, registries: Callable[..., RegistryServer]
) -> None:
    aws.ecr().put(_image(), "team/app", "1")
    _deny(aws, "ecr:BatchGetImage")

    answer = aws_function.create(f"{HOST}/team/app:1", f"{registries().host}/team/app:1")

    assert "is not authorized to perform: ecr:BatchGetImage" in answer["Reason"], answer["Reason"]


def test_functions_that_make_one_repository_at_once_all_succeed(aws: LoopbackAws) -> None:
    aws.docker_hub.put(_image(), "library/nginx", "1")
    replicators = [Replicator(Settings()) for _ in range(3)]
    functions = [Function(ReplicationResource(partial(_itself, each))) for each in replicators]

    def create(numbered: tuple[int, Function]) -> dict[str, Any]:
        number, function = numbered
        return function.create("nginx:1", f"{HOST}/mirror/app:{number}", CreateRepository="true")

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(create, enumerate(functions)))
    for each in replicators:
        each.close()

    assert [answer["Status"] for answer in answers] == ["SUCCESS"] * 3, answers
    assert set(aws.ecr().store.tags("mirror/app")) == {"0", "1", "2"}
    made = [call.error for call in aws.ecr().calls if call.operation == "CreateRepository"]
    assert made.count(None) == 1
    assert set(made) <= {None, "RepositoryAlreadyExistsException"}


def test_the_last_tag_of_an_image_in_an_index_stays_and_is_logged(
    aws: LoopbackAws, aws_function: Function, caplog: pytest.LogCaptureFixture
) -> None:
    child = build_image([build_layer(5000, seed=1)], "linux/amd64")
    aws.docker_hub.put(child, "library/nginx", "1")
    aws.ecr().create_repository("mirror/app")
    answer = aws_function.create("nginx:1", DESTINATION, OnDelete="Untag")
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    index = build_index([child])
    aws.ecr().put(index, "mirror/app", "index")

    gone = aws_function.delete(answer["PhysicalResourceId"], DESTINATION, OnDelete="Untag")

    assert gone["Status"] == "SUCCESS", gone["Reason"]
    assert aws.ecr().store.tags("mirror/app") == {"index": index.digest, "1.0": child.digest}
    kept = [vars(each).get("tags") for each in caplog.records if "ECR keeps tags" in each.message]
    assert kept == [["1.0"]]
    assert aws.ecr().store.find_manifest("mirror/app", child.digest) is not None


def test_a_permanent_refusal_is_never_tried_again(aws: LoopbackAws, aws_function: Function) -> None:
    image = build_image([build_layer(5000, seed=1)], media_type_in_body=False)
    aws.docker_hub.put(image, "library/nginx", "1")
    aws.ecr().create_repository("mirror/app")
    aws.ecr().quirks.refuses_bodies_without_media_type = True

    answer = aws_function.create("nginx:1", DESTINATION)

    assert answer["Status"] == "FAILED"
    assert "(405 Method Not Allowed, UNSUPPORTED: " in answer["Reason"], answer["Reason"]
    puts = [each for each in aws.requests_to(aws.ecr()) if each.method == "PUT"]
    assert [each.status for each in puts if "/manifests/" in each.path] == [405]
    assert aws.ecr().store.tags("mirror/app") == {}
