"""OnDelete and rollbacks: which tags are removed and which are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from local.aws import LoopbackAws
from local.images import build_image, build_index, build_layer, push
from local.images.manifests import Image
from local.registry import (
    Action,
    ErrorCode,
    Operation,
    RegistryError,
    RegistryServer,
    SpecificationPolicy,
    Store,
)
from local.web import Request
from tests.functional.conftest import Function

Start = Callable[..., RegistryServer]
HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
DESTINATION = f"{HOST}/mirror/app:1.0"


def _image(seed: int) -> Image:
    return build_image([build_layer(5000, seed=seed)])


def _physical_id_of(response: dict[str, Any]) -> str:
    assert response["Status"] == "SUCCESS", response["Reason"]
    return str(response["PhysicalResourceId"])


@pytest.fixture
def images(aws: LoopbackAws) -> tuple[Image, Image]:
    """Two versions of an image, `nginx:1` and `nginx:2`."""
    first, second = _image(1), _image(2)
    aws.docker_hub.put(first, "library/nginx", "1")
    aws.docker_hub.put(second, "library/nginx", "2")
    return first, second


def test_an_unchanged_stack_on_an_immutable_repository_can_be_deployed_again(
    aws: LoopbackAws, aws_function: Function, images: tuple[Image, Image]
) -> None:
    aws.ecr().create_repository("mirror/app", imageTagMutability="IMMUTABLE")

    ids = {
        _physical_id_of(aws_function.create("nginx:1", DESTINATION, DestTags=["1"], Trigger=number))
        for number in range(3)
    }

    assert ids == {f"{DESTINATION}@{images[0].digest}"}
    assert set(aws.ecr().store.tags("mirror/app")) == {"1.0", "1"}


@pytest.mark.parametrize("mutability", ["MUTABLE", "IMMUTABLE"])
def test_a_rolled_back_update_keeps_the_old_version_and_its_tags(
    aws: LoopbackAws, aws_function: Function, images: tuple[Image, Image], mutability: str
) -> None:
    aws.ecr().create_repository("mirror/app", imageTagMutability=mutability)
    new_destination = f"{HOST}/mirror/app:2.0" if mutability == "IMMUTABLE" else DESTINATION
    old = _physical_id_of(aws_function.create("nginx:1", DESTINATION, OnDelete="Untag"))

    new = _physical_id_of(aws_function.create("nginx:2", new_destination, OnDelete="Untag"))
    back = _physical_id_of(aws_function.create("nginx:1", DESTINATION, OnDelete="Untag"))
    _physical_id_of(aws_function.delete(new, new_destination, OnDelete="Untag"))

    assert back == old
    assert aws.ecr().store.tags("mirror/app") == {"1.0": images[0].digest}


def test_deleting_the_old_version_after_an_update_keeps_the_new_tag(
    aws: LoopbackAws, aws_function: Function, images: tuple[Image, Image]
) -> None:
    aws.ecr().create_repository("mirror/app")
    old = _physical_id_of(
        aws_function.create("nginx:1", DESTINATION, DestTags="a", OnDelete="Untag")
    )
    _physical_id_of(aws_function.create("nginx:2", DESTINATION, OnDelete="Untag"))

    _physical_id_of(aws_function.delete(old, DESTINATION, DestTags="a", OnDelete="Untag"))

    assert aws.ecr().store.tags("mirror/app") == {"1.0": images[1].digest}


@pytest.mark.parametrize("first", [0, 1])
def test_two_stacks_with_one_tag_can_be_deleted_in_any_order(
    aws: LoopbackAws, aws_function: Function, images: tuple[Image, Image], first: int
) -> None:
    aws.ecr().create_repository("mirror/app")
    ids = [
        _physical_id_of(aws_function.create(f"nginx:{number}", DESTINATION, OnDelete="Untag"))
        for number in (1, 2)
    ]

    _physical_id_of(aws_function.delete(ids[first], DESTINATION, OnDelete="Untag"))
    left = aws.ecr().store.tags("mirror/app")
    assert left == ({"1.0": images[1].digest} if first == 0 else {})

    _physical_id_of(aws_function.delete(ids[1 - first], DESTINATION, OnDelete="Untag"))
    assert aws.ecr().store.tags("mirror/app") == {}


@pytest.mark.usefixtures("images")
def test_retain_sends_no_request(aws: LoopbackAws, aws_function: Function) -> None:
    aws.ecr().create_repository("mirror/app")
    physical_id = _physical_id_of(aws_function.create("nginx:1", DESTINATION))
    aws.clear_requests()

    for on_delete in ({}, {"OnDelete": "Retain"}, {"OnDelete": ["what"]}):
        response = aws_function.delete(physical_id, DESTINATION, **on_delete)
        assert _physical_id_of(response) == physical_id

    assert aws.requests == ()


def test_untag_removes_all_tags_with_one_call_and_keeps_the_content(
    aws: LoopbackAws, aws_function: Function, images: tuple[Image, Image]
) -> None:
    aws.ecr().put(images[0], "mirror/app", "someone-else-s")
    physical_id = _physical_id_of(
        aws_function.create("nginx:1", DESTINATION, DestTags=["1", "latest"], OnDelete="Untag")
    )
    aws.clear_requests()

    response = aws_function.delete(
        physical_id, "::: malformed :::", SrcImage=":::", DestTags=["1", "latest"], OnDelete="Untag"
    )

    assert _physical_id_of(response) == physical_id
    assert aws.ecr().store.tags("mirror/app") == {"someone-else-s": images[0].digest}
    calls = [call for call in aws.ecr().calls if call.operation == "BatchDeleteImage"]
    assert [call.parameters["imageIds"] for call in calls] == [
        [{"imageTag": "1.0"}, {"imageTag": "1"}, {"imageTag": "latest"}]
    ]


def test_an_image_that_loses_its_last_tag_can_still_be_pulled_by_digest(
    aws: LoopbackAws, aws_function: Function, images: tuple[Image, Image]
) -> None:
    aws.ecr().create_repository("mirror/app")
    physical_id = _physical_id_of(aws_function.create("nginx:1", DESTINATION, OnDelete="Untag"))

    _physical_id_of(aws_function.delete(physical_id, DESTINATION, OnDelete="Untag"))

    assert aws.ecr().store.tags("mirror/app") == {}
    kept = aws.ecr().store.find_manifest("mirror/app", images[0].digest)
    assert kept is not None
    assert kept.content == images[0].manifest


def test_a_tag_whose_image_is_also_in_an_index_stays_and_is_logged(
    aws: LoopbackAws,
    aws_function: Function,
    images: tuple[Image, Image],
    caplog: pytest.LogCaptureFixture,
) -> None:
    aws.ecr().put(build_index([images[0]]), "mirror/app", "all")
    physical_id = _physical_id_of(aws_function.create("nginx:1", DESTINATION, OnDelete="Untag"))

    _physical_id_of(aws_function.delete(physical_id, DESTINATION, OnDelete="Untag"))

    assert aws.ecr().store.tags("mirror/app")["1.0"] == images[0].digest
    (kept,) = [each for each in caplog.records if "image is also in an index" in each.message]
    assert vars(kept)["tags"] == ["1.0"]


@pytest.mark.usefixtures("images")
def test_deleting_missing_tags_and_repositories_succeeds(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.ecr().create_repository("mirror/app")
    physical_id = _physical_id_of(aws_function.create("nginx:1", DESTINATION, OnDelete="Untag"))
    missing_repository = physical_id.replace("mirror/app", "mirror/gone")

    for each in (physical_id, physical_id, missing_repository):
        _physical_id_of(aws_function.delete(each, DESTINATION, OnDelete="Untag"))


@pytest.mark.parametrize(
    "physical_id",
    ["not-created/Image/7c1a", "docker://somebody-else-s", f"{HOST}/mirror/app:1.0", "x"],
)
def test_a_physical_id_of_another_program_is_ignored(
    aws: LoopbackAws, aws_function: Function, physical_id: str
) -> None:
    response = aws_function.delete(physical_id, DESTINATION, OnDelete="Untag")

    assert _physical_id_of(response) == physical_id
    assert aws.requests == ()


@pytest.mark.usefixtures("images")
def test_the_message_for_a_denied_tag_removal_names_the_permission(
    aws: LoopbackAws, aws_function: Function
) -> None:
    aws.ecr().create_repository("mirror/app")
    physical_id = _physical_id_of(aws_function.create("nginx:1", DESTINATION, OnDelete="Untag"))
    aws.ecr().quirks.denied_actions.add("ecr:BatchDeleteImage")

    response = aws_function.delete(physical_id, DESTINATION, OnDelete="Untag")

    assert response["Status"] == "FAILED"
    assert response["PhysicalResourceId"] == physical_id
    assert response["Reason"].startswith(
        "cannot remove tags from ECR repository mirror/app in account 123456789012, region "
        "eu-west-1: ecr:BatchDeleteImage failed: access denied (AccessDeniedException: "
    ), response["Reason"]


def test_tags_outside_ecr_are_deleted_with_the_distribution_api(
    function: Function, registries: Start
) -> None:
    source, destination = registries(), registries()
    image, other = _image(1), _image(2)
    push(image, source.host, "team/app", "1")
    push(other, destination.host, "mirror/app", "kept")
    target = f"{destination.host}/mirror/app:1.0"
    physical_id = _physical_id_of(
        function.create(f"{source.host}/team/app:1", target, DestTags="a,kept", OnDelete="Untag")
    )
    push(other, destination.host, "mirror/app", "kept")
    digest = image.digest

    _physical_id_of(function.delete(physical_id, target, DestTags="a,kept", OnDelete="Untag"))

    assert destination.store.tags("mirror/app") == {"kept": other.digest}
    assert destination.store.find_manifest("mirror/app", digest) is not None


class _NoDeletionPolicy(SpecificationPolicy):
    """A registry that does not support deletion."""

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - overrides
        if operation.action is Action.DELETE_MANIFEST:
            raise RegistryError(ErrorCode.UNSUPPORTED, "The operation is unsupported.")


def test_deletion_fails_if_the_registry_does_not_support_it(
    function: Function, registries: Start
) -> None:
    source, destination = registries(), registries(policy=_NoDeletionPolicy())
    push(_image(1), source.host, "team/app", "1")
    target = f"{destination.host}/mirror/app:1.0"
    physical_id = _physical_id_of(function.create(f"{source.host}/team/app:1", target))

    response = function.delete(physical_id, target, OnDelete="Untag")

    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith(
        f"cannot delete {target}: the registry does not support deleting tags (405 Method Not "
        "Allowed, UNSUPPORTED: The operation is unsupported.). Delete the tag in the registry, or "
        "set OnDelete: Retain."
    ), response["Reason"]


def test_the_log_distinguishes_missing_tags_from_tags_that_point_elsewhere(
    function: Function, registries: Start, caplog: pytest.LogCaptureFixture
) -> None:
    source, destination = registries(), registries()
    push(_image(1), source.host, "team/app", "1")
    push(_image(2), destination.host, "mirror/app", "moved")
    target = f"{destination.host}/mirror/app:1.0"
    physical_id = _physical_id_of(function.create(f"{source.host}/team/app:1", target))

    _physical_id_of(
        function.delete(physical_id, target, OnDelete="Untag", DestTags=["gone", "moved"])
    )

    logged = {
        vars(each)["tag"]: each.message
        for each in caplog.records
        if each.name.endswith("registry.destination")
    }
    assert logged == {
        "gone": "the tag does not exist",
        "moved": "kept a tag that points elsewhere",
    }


def test_deletion_fails_if_the_registry_is_unreachable(
    function: Function, registries: Start
) -> None:
    source, destination = registries(), registries()
    push(_image(1), source.host, "team/app", "1")
    target = f"{destination.host}/mirror/app:1.0"
    physical_id = _physical_id_of(function.create(f"{source.host}/team/app:1", target))
    destination.close()

    response = function.delete(
        physical_id, target, OnDelete="Untag", RetryConfigs={"numAttempts": 1}
    )

    assert response["Status"] == "FAILED"
    assert "after 1 attempt" in response["Reason"]
