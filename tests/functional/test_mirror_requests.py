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
#: Of the images: three shared layers, and for each tag a layer and a config.
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


def test_the_first_images_find_out_whether_mounts_are_honoured(registries: Start) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", TAGS)

    assert run_mirror(_mirror(source, destination)).values()["Copied"] == str(len(TAGS))

    assert methods(destination.requests) == {
        "HEAD manifest": len(TAGS),
        "HEAD blob": 4,
        "POST blob": BLOBS + 1,  # one mounts a blob that was pushed
        "PUT blob": BLOBS,
        "PUT manifest": len(TAGS),
    }


class _IgnoresMounts(SpecificationPolicy):
    """Opens a session for each mount, whether the blob is there or not."""

    def may_mount(self, source: str, target: str, digest: Digest, store: Store) -> bool:  # noqa: ARG002 - the policy's
        return False


def test_ignored_mounts_are_found_out_once_and_not_sent_again(registries: Start) -> None:
    source, destination = registries(), registries(policy=_IgnoresMounts())
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


@pytest.mark.parametrize("policy", [SpecificationPolicy(), _IgnoresMounts()])
def test_existing_blobs_are_not_sent_again_by_the_same_process(
    registries: Start, policy: SpecificationPolicy
) -> None:
    source, destination = registries(), registries(policy=policy)
    put_tags(source, "team/app", TAGS)
    mirror = _mirror(source, destination)
    engine = Replicator(Settings(plain_http=("127.0.0.1",)))
    run_mirror(mirror, replicator=engine)
    for tag in TAGS:
        destination.store.delete_tag("mirror/app", tag)
    destination.clear_requests()

    run_mirror(mirror, replicator=engine)

    counts = methods(destination.requests)
    assert counts["PUT blob"] == 0
    assert counts["PUT manifest"] == len(TAGS)
    assert counts["GET manifest"] == 0


class _DeniesHeads(SpecificationPolicy):
    """Denies a HEAD for a tag, as some registries do for a repository that does not exist."""

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - the policy's
        if operation.action.name == "GET_MANIFEST" and request.method == "HEAD":
            raise RegistryError(ErrorCode.DENIED, "denied")


def test_a_tag_that_may_exist_is_read_before_it_is_written(registries: Start) -> None:
    source, destination = registries(), registries(policy=_DeniesHeads())
    put_tags(source, "team/app", TAGS)

    assert run_mirror(_mirror(source, destination)).values()["Copied"] == str(len(TAGS))

    assert methods(destination.requests)["GET manifest"] == len(TAGS)


@pytest.mark.parametrize(("tries", "reads"), [(0, 0), (1, 1)])
def test_an_image_that_was_begun_before_is_read_again(
    registries: Start, tries: int, reads: int
) -> None:
    source, destination = registries(), registries()
    put_tags(source, "team/app", ["1"])
    engine = Replicator(Settings(plain_http=("127.0.0.1",)))
    worker = RepositoryWorker(
        engine,
        parse_mirror(_mirror(source, destination)).entries[0],
        Deadline(60),
        progress=lambda _: LoggedProgress(),
    )

    outcome = worker.run([MirrorImage("1", ("1",), is_new=True)], tries=tries)
    engine.close()

    assert [each.status for each in outcome.results] == [ImageStatus.COPIED]
    assert methods(destination.requests)["GET manifest"] == reads
