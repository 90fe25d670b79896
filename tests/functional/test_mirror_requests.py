"""The exact number of requests that a mirror sends to an empty destination."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from local.registry import ErrorCode, Operation, RegistryError, RegistryServer, SpecificationPolicy
from local.registry.digests import Digest
from local.registry.store import Store
from local.web import Request
from tests.functional.mirror_fixtures import methods, put_tags, run_mirror

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.mirror.compare import MirrorImage
from ecr_image_replicator.mirror.results import ImageStatus
from ecr_image_replicator.mirror.worker import RepositoryWorker
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.mirror_parsing import parse_mirror
from ecr_image_replicator.request.settings import Settings

Start = Callable[..., RegistryServer]
TAGS = [f"1.{minor}" for minor in range(6)]
#: The blobs of all images: three shared layers, and a layer and a config for each tag.
BLOBS = 3 + 2 * len(TAGS)


def _mirror(source: RegistryServer, destination: RegistryServer) -> dict[str, object]:
    return {
        "Repositories": [
            {
                "SrcRepository": f"{source.host}/team/app",
                "DestRepository": f"{destination.host}/mirror/app",
            }
        ]
    }


def test_mount_support_is_detected_with_the_first_images(registries: Start) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", TAGS)

    assert run_mirror(_mirror(source, destination)).values()["Copied"] == str(len(TAGS))

    assert methods(destination.requests) == {
        "HEAD manifest": len(TAGS),
        "HEAD blob": 4,
        "POST blob": BLOBS + 1,  # one more to mount a blob that was pushed
        "PUT blob": BLOBS,
        "PUT manifest": len(TAGS),
    }


class _IgnoredMountsPolicy(SpecificationPolicy):
    """A registry that opens an upload session for each mount, even if the blob exists."""

    def may_mount(self, source: str, target: str, digest: Digest, store: Store) -> bool:  # noqa: ARG002 - overrides
        return False


def test_mounts_are_not_requested_again_after_the_first_is_ignored(registries: Start) -> None:
    source, destination = registries(), registries(policy=_IgnoredMountsPolicy())
    put_tags(source, "team/app", TAGS)

    assert run_mirror(_mirror(source, destination)).values()["Copied"] == str(len(TAGS))

    later_blobs = BLOBS - 5 - 2  # the first two images have five and two
    assert methods(destination.requests) == {
        "HEAD manifest": len(TAGS),
        "HEAD blob": 4 + 1 + later_blobs,
        "POST blob": BLOBS + 1,
        "DELETE blob": 1,
        "PUT blob": BLOBS,
        "PUT manifest": len(TAGS),
    }


@pytest.mark.parametrize("policy", [SpecificationPolicy(), _IgnoredMountsPolicy()])
def test_existing_blobs_are_not_pushed_again_by_the_same_process(
    registries: Start, policy: SpecificationPolicy
) -> None:
    source, destination = registries(), registries(policy=policy)
    put_tags(source, "team/app", TAGS)
    mirror = _mirror(source, destination)
    replicator = Replicator(Settings(plain_http=("127.0.0.1",)))
    run_mirror(mirror, replicator=replicator)
    for tag in TAGS:
        destination.store.delete_tag("mirror/app", tag)
    destination.clear_requests()

    run_mirror(mirror, replicator=replicator)

    counts = methods(destination.requests)
    assert counts["PUT blob"] == 0
    assert counts["PUT manifest"] == len(TAGS)
    assert counts["GET manifest"] == 0


class _DeniedHeadsPolicy(SpecificationPolicy):
    """A registry that denies the HEAD of a tag, as some do if the repository does not exist."""

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - overrides
        if operation.action.name == "GET_MANIFEST" and request.method == "HEAD":
            raise RegistryError(ErrorCode.DENIED, "denied")


def test_a_tag_is_read_before_it_is_pushed_if_its_head_was_denied(registries: Start) -> None:
    source, destination = registries(), registries(policy=_DeniedHeadsPolicy())
    put_tags(source, "team/app", TAGS)

    assert run_mirror(_mirror(source, destination)).values()["Copied"] == str(len(TAGS))

    assert methods(destination.requests)["GET manifest"] == len(TAGS)


@pytest.mark.parametrize(("tries", "reads"), [(0, 0), (1, 1)])
def test_a_new_tag_is_read_only_if_an_earlier_attempt_may_have_pushed_it(
    registries: Start, tries: int, reads: int
) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1"])
    replicator = Replicator(Settings(plain_http=("127.0.0.1",)))
    worker = RepositoryWorker(
        replicator,
        parse_mirror(_mirror(source, destination)).entries[0],
        Deadline(60),
        progress=LoggedProgress,
    )

    outcome = worker.run([MirrorImage("1", ("1",), is_new=True)], tries=tries)
    replicator.close()

    assert [each.status for each in outcome.results] == [ImageStatus.COPIED]
    assert methods(destination.requests)["GET manifest"] == reads
