"""Mirrors in one process: the images that are copied, and the requests of each run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from local.aws import LoopbackAws
from local.registry import ErrorCode, Operation, RegistryError, RegistryServer, SpecificationPolicy
from local.registry.store import Store
from local.web import Request
from tests.functional.mirror_fixtures import RecordingDisplay, methods, put_tags, run_mirror

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.mirror.known import KnownImages
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

Start = Callable[..., RegistryServer]
TAGS = [f"1.{minor}.{patch}" for minor in range(4) for patch in range(3)]


def _repository(
    source: RegistryServer, destination: RegistryServer, **more: object
) -> dict[str, object]:
    return {
        "SrcRepository": f"{source.host}/team/app",
        "DestRepository": f"{destination.host}/mirror/{{name}}",
        **more,
    }


def test_chosen_tags_are_copied_and_each_blob_is_pulled_once(registries: Start) -> None:
    source, destination = registries(), registries()
    images = put_tags(source, "team/app", [*TAGS, "latest", "edge"])

    report = run_mirror(
        {"Repositories": [_repository(source, destination, Versions=">=1.1", Tags="latest")]}
    )

    assert report.values()["Copied"] == "10"
    assert report.values()["Failed"] == "0"
    chosen = [tag for tag in TAGS if not tag.startswith("1.0.")] + ["latest"]
    assert set(destination.store.tags("mirror/app")) == set(chosen)
    for tag in chosen:
        assert destination.store.find_manifest("mirror/app", tag).digest == images[tag].digest  # type: ignore[union-attr]
    blobs = {digest for tag in chosen for digest in images[tag].blobs}
    read = [each.path for each in source.requests if "/blobs/" in each.path]
    assert len(read) == len(set(read)) == len(blobs)
    assert methods(destination.requests)["PUT blob"] == len(blobs)


def test_an_unchanged_mirror_sends_one_head_per_tag_and_endpoint(registries: Start) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", TAGS)
    mirror = {"Repositories": [_repository(source, destination)]}
    run_mirror(mirror)
    source.clear_requests()
    destination.clear_requests()

    report = run_mirror(mirror)

    assert report.values()["Unchanged"] == str(len(TAGS))
    assert report.values()["Changed"] == "false"
    assert methods(source.requests) == {"GET tags": 1, "HEAD manifest": len(TAGS)}
    assert methods(destination.requests) == {"HEAD manifest": len(TAGS)}


def test_an_unchanged_platform_subset_sends_one_head_per_tag_with_known_digests(
    registries: Start,
) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", TAGS, platforms=3)
    entry = _repository(source, destination, Platforms="linux/amd64,linux/arm64")
    mirror = {"Repositories": [entry]}
    known = KnownImages()
    run_mirror(mirror, known=known)
    known = KnownImages.parse(known.render())
    source.clear_requests()

    assert run_mirror(mirror, known=known).values()["Unchanged"] == str(len(TAGS))
    assert methods(source.requests) == {"GET tags": 1, "HEAD manifest": len(TAGS)}

    source.clear_requests()
    assert run_mirror(mirror).values()["Unchanged"] == str(len(TAGS))
    assert methods(source.requests)["GET manifest"] == len(TAGS)


def test_other_platforms_are_copied_even_if_the_source_digests_are_known(registries: Start) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1"], platforms=3)
    known = KnownImages()
    entry = _repository(source, destination)
    run_mirror({"Repositories": [{**entry, "Platforms": "linux/amd64"}]}, known=known)

    report = run_mirror({"Repositories": [{**entry, "Platforms": "linux/arm64"}]}, known=known)

    assert report.values()["Copied"] == "1"


def test_a_known_image_is_copied_again_if_the_destination_tag_has_changed(
    registries: Start,
) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1", "2"], platforms=2)
    known = KnownImages()
    mirror = {"Repositories": [_repository(source, destination)]}
    run_mirror(mirror, known=known)
    other = destination.store.find_manifest("mirror/app", "2")
    assert other is not None
    destination.store.put_manifest("mirror/app", "1", other.content, other.media_type)

    assert run_mirror(mirror, known=known).values()["Copied"] == "1"


def test_a_moved_tag_is_copied_again_and_a_deleted_tag_is_reported(registries: Start) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1", "2", "3"])
    known = KnownImages()
    mirror = {"Repositories": [_repository(source, destination)]}
    run_mirror(mirror, known=known)
    moved = source.store.find_manifest("team/app", "2")
    assert moved is not None
    source.store.put_manifest("team/app", "1", moved.content, moved.media_type)
    source.store.delete_tag("team/app", "3")

    report = run_mirror(mirror, known=known)

    assert report.values()["Copied"] == "1"
    assert report.choice.vanished == (f"{destination.host}/mirror/app:3",)
    assert "3" in destination.store.tags("mirror/app")


def test_onlymissing_does_not_change_existing_tags(registries: Start) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1", "2"])
    put_tags(destination, "mirror/app", ["1"], platforms=2)

    report = run_mirror({"Repositories": [_repository(source, destination, OnlyMissing=True)]})

    assert report.values()["Copied"] == "1"
    assert report.values()["Unchanged"] == "1"
    # of the missing tag: one to compare it and one to copy it
    assert methods(source.requests)["HEAD manifest"] == 2


def test_a_failed_image_does_not_stop_the_others(registries: Start) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1", "2"])
    digest = min(put_tags(source, "team/broken", ["x"])["x"].blobs)
    source.store.delete_blob("team/broken", digest)
    mirror = {
        "Repositories": [
            _repository(source, destination, Tags=["1", "9", "2", "q*"]),
            _repository(source, destination, SrcRepository=f"{source.host}/team/broken"),
            _repository(source, destination, SrcRepository=f"{source.host}/team/none"),
        ],
        "Images": [
            {"SrcImage": f"{source.host}/team/app:7", "DestImage": f"{destination.host}/a:7"},
            {"SrcImage": f"{source.host}/team/app:1", "DestImage": f"{destination.host}/a:1"},
        ],
    }

    report = run_mirror(mirror)

    values = report.values()
    assert (values["Chosen"], values["Copied"], values["Failed"]) == ("7", "3", "4")
    failed = {each.source: each.kind for each in report.failed}
    assert failed == {
        f"{source.host}/team/app:9": "NotFound",
        f"{source.host}/team/broken:x": "NotFound",
        f"{source.host}/team/none": "NotFound",
        f"{source.host}/team/app:7": "NotFound",
    }
    assert report.choice.warnings == (f"{source.host}/team/app: no tag matches q*",)


def test_images_by_digest_and_with_several_tags_are_copied(registries: Start) -> None:
    source, destination = registries(), registries()
    image = put_tags(source, "team/app", ["1"])["1"]
    mirror = {
        "Images": [
            {
                "SrcImage": f"{source.host}/team/app@{image.digest}",
                "DestImage": f"{destination.host}/app:pinned",
                "DestTags": ["stable", "also"],
            }
        ]
    }

    assert run_mirror(mirror).values()["Copied"] == "1"
    assert set(destination.store.tags("app")) == {"pinned", "stable", "also"}
    assert run_mirror(mirror).values()["Unchanged"] == "1"


def test_the_error_for_a_missing_digest_names_the_image_with_its_digest(
    registries: Start,
) -> None:
    source, destination = registries(), registries()
    named = f"{source.host}/team/app@sha256:{'0' * 64}"
    mirror = {"Images": [{"SrcImage": named, "DestImage": f"{destination.host}/app:pinned"}]}

    (failed,) = run_mirror(mirror).failed

    assert failed.source == named
    assert failed.error.startswith(f"cannot pull {named}: image not found (404 Not Found)")


@pytest.mark.parametrize(
    ("tag", "options"),
    [("1", {}), ("2", {"Platforms": "all", "ArchImageTags": {"amd64": "1"}})],
    ids=["DestImage", "ArchImageTags"],
)
def test_two_entries_with_the_same_destination_tag_are_an_error(
    tag: str, options: dict[str, Any], registries: Start
) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1"])
    target = f"{destination.host}/mirror/app:{tag}"
    image = {"SrcImage": f"{source.host}/x:1", "DestImage": target, **options}
    mirror = {"Repositories": [_repository(source, destination)], "Images": [image]}

    with pytest.raises(RequestError, match="both write to"):
        run_mirror(mirror)
    assert not any(each.method in {"POST", "PUT"} for each in destination.requests)


def test_more_than_10000_images_are_an_error(registries: Start) -> None:
    source, destination = registries(), registries()
    image = put_tags(source, "team/app", ["1"])["1"]
    for number in range(10_000):
        source.store.put_manifest("team/app", f"v{number}", image.manifest, image.media_type)
    put_tags(destination, "mirror/app", ["1"])
    for number in range(10_000):
        destination.store.put_manifest("mirror/app", f"v{number}", image.manifest, image.media_type)

    with pytest.raises(RequestError, match="10001 images are chosen"):
        run_mirror({"Repositories": [_repository(source, destination, OnlyMissing=True)]})


class _PullLimitPolicy(SpecificationPolicy):
    """A registry with a pull rate limit: it responds 429 to some GETs of manifests."""

    def __init__(self, allowed: int, rejected: int, retry_after: str) -> None:
        self.allowed, self.rejected, self.retry_after = allowed, rejected, retry_after

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - overrides
        if operation.action.name != "GET_MANIFEST" or request.method == "HEAD":
            return
        if self.allowed > 0:
            self.allowed -= 1
        elif self.rejected > 0:
            self.rejected -= 1
            headers = {
                "Retry-After": self.retry_after,
                "ratelimit-limit": "100;w=21600",
                "ratelimit-remaining": "0;w=21600",
            }
            raise RegistryError(ErrorCode.TOOMANYREQUESTS, "pull rate limit", headers=headers)


def test_a_mirror_waits_for_the_pull_rate_limit_and_copies_all_images(registries: Start) -> None:
    source = registries(policy=_PullLimitPolicy(5, 2, "7200"))
    destination = registries()
    put_tags(source, "team/app", TAGS)
    display = RecordingDisplay()
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return False

    report = run_mirror(
        {"Repositories": [_repository(source, destination)]},
        display=display,
        deadline=Deadline(100_000, wait=wait),
    )

    assert report.values()["Copied"] == str(len(TAGS))
    assert display.waits == [(source.host, 7200.0)] * 2
    assert waited == [7200.0] * 2


def test_the_waits_for_a_limit_that_outlasts_its_retry_after_become_longer(
    registries: Start,
) -> None:
    source, destination = registries(policy=_PullLimitPolicy(0, 8, "1")), registries()
    put_tags(source, "team/app", ["1"])
    display = RecordingDisplay()
    retries = {"RetryConfigs": {"numAttempts": 1}}

    run_mirror(
        {"Repositories": [_repository(source, destination, **retries)]},
        display=display,
        deadline=Deadline(100_000, wait=lambda _: False),
    )

    assert [seconds for _, seconds in display.waits] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_images_remain_if_the_pull_rate_limit_exceeds_the_deadline(registries: Start) -> None:
    source = registries(policy=_PullLimitPolicy(5, 2, "7200"))
    destination = registries()
    put_tags(source, "team/app", TAGS)

    report = run_mirror(
        {"Repositories": [_repository(source, destination)]}, deadline=Deadline(3600)
    )

    assert report.values()["Copied"] == "5"
    assert report.values()["Left"] == str(len(TAGS) - 5)
    assert report.values()["Failed"] == "0"


def test_ecr_tags_are_compared_with_one_listimages_call(
    aws: LoopbackAws, registries: Start
) -> None:
    source = registries()
    put_tags(source, "team/app", TAGS)
    ecr = aws.ecr()
    host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    entry = {
        "SrcRepository": f"{source.host}/team/app",
        "DestRepository": f"{host}/mirror/app",
        "CreateRepository": True,
    }

    def run() -> dict[str, str]:
        replicator = Replicator(Settings(plain_http=("127.0.0.1",)))
        return run_mirror({"Repositories": [entry]}, replicator=replicator).values()

    assert run()["Copied"] == str(len(TAGS))
    ecr.clear_calls()
    source.clear_requests()
    assert run()["Unchanged"] == str(len(TAGS))
    assert ecr.operations == ["ListImages"]
    assert methods(source.requests) == {"GET tags": 1, "HEAD manifest": len(TAGS)}


def test_images_of_one_destination_repository_keep_their_own_options(registries: Start) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1", "2", "3"], platforms=2)
    target = f"{destination.host}/mirror/app"
    images = [
        {"SrcImage": f"{source.host}/team/app:1", "DestImage": f"{target}:one"},
        {
            "SrcImage": f"{source.host}/team/app:2",
            "DestImage": f"{target}:two",
            "ImageArch": "arm64",
        },
    ]
    repository = {
        "SrcRepository": f"{source.host}/team/app",
        "DestRepository": target,
        "Tags": "3*",
        "Platforms": "all",
    }
    known = KnownImages()
    run_mirror({"Images": images, "Repositories": [repository]}, known=known)
    source.clear_requests()

    report = run_mirror({"Images": images, "Repositories": [repository]}, known=known)

    assert report.values()["Unchanged"] == "3"
    assert methods(source.requests)["GET manifest"] == 0
    assert report.choice.vanished == ()

    # the other image's options are not those that this one was copied with
    del images[1]["ImageArch"]
    report = run_mirror({"Images": images, "Repositories": [repository]}, known=known)
    assert (report.values()["Copied"], report.values()["Unchanged"]) == ("1", "2")
