"""DryRun: the result matches the real run, and nothing is changed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from local.images import Image, build_image, build_index, build_layer, push
from local.registry import RegistryServer
from local.registry.store import Store
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import cosign_tag, referrers, sbom, signatures

Start = Callable[..., RegistryServer]
#: Attributes that differ between runs of the same copy.
_VARYING = {"DurationSeconds"}


@pytest.fixture
def image() -> Image:
    return build_image([build_layer(20_000 + each, seed=each) for each in range(3)])


def requests_to(server: RegistryServer) -> Counter[str]:
    return Counter(f"{each.method} {each.path.split('/')[-2]}" for each in server.requests)


def content_of(store: Store, repository: str) -> object:
    """Return the tags and the list of repositories, to compare them."""
    return store.tags(repository), store.repositories


def attributes_of(response: dict[str, Any]) -> dict[str, str]:
    assert response["Status"] == "SUCCESS", response
    return {name: value for name, value in response["Data"].items() if name not in _VARYING}


def test_a_dry_run_checks_each_blob_once_and_pushes_nothing(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    named = f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1"

    response = function.create(*named, DryRun="true")

    assert response["Data"]["Changed"] == "true"
    assert response["Data"]["ImageDigest"] == str(image.digest)
    assert requests_to(destination) == {"GET manifests": 1, "HEAD blobs": 4}
    assert requests_to(source)["GET blobs"] == 1  # the config, for its platform
    assert destination.store.repositories == ()
    # the real run returns the same values
    planned = attributes_of(response)
    assert attributes_of(function.create(*named)) == planned
    sent = sum(each.request_bytes for each in destination.requests if each.path.count("/blobs/"))
    assert str(sent) == planned["BytesCopied"]


@pytest.mark.parametrize("key", ["DestTags", "ArchImageTags", "CopyReferrers", "Platforms"])
def test_a_dry_run_and_the_real_run_return_the_same_values(
    function: Function, registries: Start, key: str
) -> None:
    source, destination = registries(), registries()
    images = [
        build_image([build_layer(9_000, seed=1), build_layer(5_000, seed=number)], platform)
        for number, platform in enumerate(("linux/amd64", "linux/arm64", "linux/arm/v7"), 2)
    ]
    index = build_index(images)
    push(index, source.host, "team/app", "1")
    push(images[0], destination.host, "mirror/app", "0")
    push(sbom(index), source.host, "team/app")
    choices: dict[str, dict[str, Any]] = {
        "DestTags": {"CopyImageIndex": "true", "DestTags": ["latest", "0"]},
        "ArchImageTags": {"Platforms": "all", "ArchImageTags": {"arm64": "1-arm64"}},
        "CopyReferrers": {"Platforms": "all", "CopyReferrers": "true"},
        "Platforms": {"Platforms": ["linux/amd64", "linux/arm64"]},
    }
    properties = choices[key]
    named = f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1"
    before = content_of(destination.store, "mirror/app")
    destination.clear_requests()

    planned = attributes_of(function.create(*named, DryRun=True, **properties))

    assert {each.method for each in destination.requests} <= {"GET", "HEAD"}
    assert content_of(destination.store, "mirror/app") == before
    assert int(planned["BytesCopied"]) > 0
    assert attributes_of(function.create(*named, **properties)) == planned
    again = attributes_of(function.create(*named, DryRun=True, **properties))
    assert (again["Changed"], again["BytesCopied"]) == (
        "true" if key == "CopyReferrers" and again["ReferrersCopied"] != "0" else "false",
        "0",
    )


def test_mountable_blobs_are_counted_as_mounted(
    function: Function, registries: Start, image: Image
) -> None:
    server = registries()
    push(image, server.host, "team/app", "1")
    push(build_image([build_layer(20_000, seed=0)]), server.host, "mirror/app", "0")
    named = f"{server.host}/team/app:1", f"{server.host}/mirror/app:1"
    server.clear_requests()

    planned = function.create(*named, DryRun="true")["Data"]

    assert {each.method for each in server.requests} <= {"GET", "HEAD"}
    assert (planned["BlobsMounted"], planned["BlobsSkipped"]) == ("3", "1")
    assert planned["BytesCopied"] == "0"
    assert function.create(*named)["Data"]["BytesCopied"] == "0"


def test_the_plan_is_logged_with_one_line_per_stage(
    function: Function, registries: Start, image: Image, caplog: pytest.LogCaptureFixture
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    shared = build_layer(20_000, seed=0)
    other = build_image([shared])
    push(other, destination.host, "mirror/app", "1")
    caplog.set_level(logging.INFO, "ecr_image_replicator")

    response = function.create(
        f"{source.host}/team/app:1",
        f"{destination.host}/mirror/app:1",
        DestTags=["latest"],
        DryRun="true",
    )

    records = [each for each in caplog.records if each.getMessage().startswith("dry run: ")]
    lines = [each.getMessage().removeprefix("dry run: ") for each in records]
    assert lines == [
        "would copy blobs",
        "would find blobs there",
        "would push manifests",
        "would put a tag",
        "would put a tag",
    ]
    copied, found, manifests, own, latest = [vars(each) for each in records]
    assert (copied["count"], str(copied["bytes"])) == (3, response["Data"]["BytesCopied"])
    assert len(copied["blobs"]) == 3
    assert (found["count"], found["bytes"]) == (1, len(shared.content))
    assert manifests["manifests"] == [str(image.digest)]
    assert [own[each] for each in ("tag", "before", "after")] == [
        "1",
        str(other.digest),
        str(image.digest),
    ]
    assert (latest["tag"], latest["before"]) == ("latest", "no such tag")


def test_referrers_are_counted_and_not_copied(
    function: Function, registries: Start, image: Image, caplog: pytest.LogCaptureFixture
) -> None:
    source, destination = registries(), registries(referrers_api=False)
    push(image, source.host, "team/app", "1")
    push(image, destination.host, "mirror/app", "1")
    push(sbom(image), source.host, "team/app")
    tag = cosign_tag(image.digest)
    push(signatures([(b"{}", "x")]), source.host, "team/app", tag)
    destination.clear_requests()
    caplog.set_level(logging.INFO, "ecr_image_replicator")

    response = function.create(
        f"{source.host}/team/app:1",
        f"{destination.host}/mirror/app:1",
        CopyReferrers="required",
        DryRun="true",
    )

    assert (response["Data"]["ReferrersCopied"], response["Data"]["Changed"]) == ("2", "true")
    assert {each.method for each in destination.requests} <= {"GET", "HEAD"}
    assert referrers(destination, image.digest) == set()
    assert destination.store.tags("mirror/app") == {"1": image.digest}
    tags = [each for each in caplog.records if each.getMessage() == "dry run: would put a tag"]
    assert [vars(each)["tag"] for each in tags] == [tag]


def test_a_missing_platform_fails_a_dry_run_and_a_real_run_with_the_same_message(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    named = f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1"

    responses = [
        function.create(*named, Platforms="linux/riscv64", DryRun=each) for each in (True, False)
    ]

    reasons = {each["Reason"] for each in responses}
    assert len(reasons) == 1
    assert "platform linux/riscv64 not found in" in reasons.pop()


@pytest.mark.parametrize("is_dry_rerun", [True, False])
def test_deleting_a_resource_that_was_created_by_a_dry_run_removes_no_tag(
    function: Function, registries: Start, image: Image, *, is_dry_rerun: bool
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    push(image, destination.host, "mirror/app", "1")  # by another stack
    named = f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1"

    response = function.create(*named, OnDelete="Untag", DestTags=["2"], DryRun="true")
    deleted = function.delete(
        response["PhysicalResourceId"],
        named[1],
        OnDelete="Untag",
        DestTags=["1", "2"],
        DryRun=is_dry_rerun,
    )

    assert response["PhysicalResourceId"].startswith("not-created/")
    assert deleted["Status"] == "SUCCESS"
    assert destination.store.tags("mirror/app") == {"1": image.digest}


def test_deleting_a_resource_after_a_dry_update_removes_only_tags_of_the_real_run(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    named = f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1"
    created = function.create(*named, OnDelete="Untag")
    push(image, destination.host, "mirror/app", "theirs")

    properties = {"SrcImage": named[0], "DestImage": named[1], "OnDelete": "Untag"}
    updated = function.send(
        {
            "RequestType": "Update",
            "PhysicalResourceId": created["PhysicalResourceId"],
            "ResourceProperties": {**properties, "DestTags": ["theirs"], "DryRun": "true"},
        }
    )
    assert updated["Status"] == "SUCCESS"
    assert updated["PhysicalResourceId"] == created["PhysicalResourceId"]
    deleted = function.delete(
        updated["PhysicalResourceId"],
        named[1],
        OnDelete="Untag",
        DestTags=["theirs"],
        DryRun="true",
    )

    assert deleted["Status"] == "SUCCESS"
    # only the tag of the real run is removed; its digest is in the physical ID
    assert destination.store.tags("mirror/app") == {"theirs": image.digest}
