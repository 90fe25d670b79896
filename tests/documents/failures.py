"""What can go wrong, made to go wrong: a replication each, which raises what a stack is told.

Each stands under the heading that `docs/troubleshooting.md` has for it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from local.images import build_artifact, build_image, build_layer
from local.objects import ObjectStorage
from local.registry import ErrorCode, RegistryError
from local.web import Application, Response
from tests.documents.scene import ECR, OTHER, Scene, keeps_tags, saved
from tests.functional.cosign_fixtures import pem

from custom_resource.continuation import MAX_INVOCATIONS, Continuation
from ecr_image_replicator.copy.progress import ProgressSnapshot
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import Descriptor
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.allow_lists import AllowLists
from ecr_image_replicator.request.parsing import parse_request, parse_untagging
from ecr_image_replicator.request.settings import Settings

ROLE: Final = "arn:aws:iam::210987654321:role/images"
_ONCE: Final = {"numAttempts": 1}

Mishap = Callable[[Scene], object]
#: By the heading under which the documentation has it.
MISHAPS: Final[list[tuple[str, Mishap]]] = []


def under(heading: str) -> Callable[[Mishap], Mishap]:
    """Say where the documentation has what a mishap raises."""

    def register(mishap: Mishap) -> Mishap:
        MISHAPS.append((heading, mishap))
        return mishap

    return register


def _always(response: Response) -> Application:
    return lambda _: response


@under("unknown property")
def unknown_property(scene: Scene) -> None:
    scene.replicate(CopyImageIndexes="true")


@under("is required")
def missing_property(_: Scene) -> None:
    parse_request({"SrcImage": "nginx:1.27"})


@under("is not a boolean, is not one of, is not a string")
def wrong_type(scene: Scene) -> None:
    scene.replicate(CopyImageIndex="maybe")


@under("is not a boolean, is not one of, is not a string")
def wrong_choice(scene: Scene) -> None:
    scene.replicate(OnDelete="Remove")


@under("it cannot be combined with")
def two_choices(scene: Scene) -> None:
    scene.replicate(CopyImageIndex="true", ImageArch="arm64")


@under("is a single image, not an index")
def tags_without_an_index(scene: Scene) -> None:
    scene.replicate(CopyImageIndex="true", ArchImageTags={"arm64": "1.0-arm64"})


@under("is not in a private ECR registry")
def repository_elsewhere(scene: Scene) -> None:
    scene.replicate(destination=f"{OTHER}/app:1.0", CreateRepository="true")


@under("is an archive, which has no referrers and signatures")
def referrers_of_an_archive(scene: Scene) -> None:
    scene.replicate(scene.save(saved("app:1.0", 1)), CopyReferrers="true")


@under("neither user:password nor the ARN or name of a secret")
def unreadable_credentials(scene: Scene) -> None:
    scene.replicate(SrcCreds="team secrets")


@under("invalid image reference")
def url_for_a_reference(scene: Scene) -> None:
    scene.replicate("https://hub.docker.com/_/nginx")


@under("invalid archive reference")
def archive_without_a_key(scene: Scene) -> None:
    scene.replicate("s3://builds")


@under("is not allowed")
def source_that_is_not_served(scene: Scene) -> None:
    allowed = AllowLists.parse("*.dkr.ecr.eu-west-1.amazonaws.com", "")
    scene.replicate(settings=Settings(allowed=allowed))


@under("is not allowed")
def destination_that_is_not_served(scene: Scene) -> None:
    allowed = AllowLists.parse("", f"{ECR}/mirror/*")
    scene.replicate(settings=Settings(allowed=allowed))


@under("image not found, repository not found")
def missing_image(scene: Scene) -> None:
    scene.replicate("nginx:1.72")


@under("ECR repository … does not exist")
def missing_repository(scene: Scene) -> None:
    scene.replicate(destination=f"{ECR}/team/other:1.0")


@under("platform … not found in")
def missing_platform(scene: Scene) -> None:
    scene.replicate("demo/index:1.0", Platforms="linux/s390x")


@under("platform … not found in")
def single_image_of_another_platform(scene: Scene) -> None:
    scene.replicate(Platforms="linux/arm64")


@under("not found in the content copied from")
def tag_for_a_platform_that_is_not_copied(scene: Scene) -> None:
    scene.replicate(
        "demo/index:1.0", CopyImageIndex="true", ArchImageTags={"riscv64": "1.0-riscv64"}
    )


@under("the archive holds several images and the reference names none")
def several_images(scene: Scene) -> None:
    scene.replicate(scene.save(saved("app:1.0", 1), saved("proxy:2.1", 2)))


@under("image not found in the archive")
def no_such_image_in_the_archive(scene: Scene) -> None:
    location = scene.save(saved("app:1.0", 1), saved("proxy:2.1", 2))
    scene.replicate(f"{location}:app:2.0")


@under("authentication failed, access denied")
def private_image(scene: Scene) -> None:
    scene.world.aws.docker_hub.private_repositories.add("library/nginx")
    scene.replicate()


@under("authentication failed, access denied")
def wrong_password(scene: Scene) -> None:
    scene.replicate(SrcCreds="ann:hunter3")


@under("authentication failed, access denied")
def push_that_is_denied(scene: Scene) -> None:
    scene.world.aws.ecr().quirks.denied_actions.add("ecr:PutImage")
    scene.replicate()


@under("authentication failed for ECR")
def sign_in_that_is_denied(scene: Scene) -> None:
    scene.world.aws.ecr().quirks.denied_actions.add("ecr:GetAuthorizationToken")
    scene.replicate()


@under("cannot read the secret … not found")
def missing_secret(scene: Scene) -> None:
    scene.replicate(SrcCreds="docker-hub")


@under("cannot read the secret … access denied")
def secret_that_is_denied(scene: Scene) -> None:
    scene.world.keep_secret("docker-hub", "ann:hunter2", "eu-west-1")
    scene.world.aws.services.denied_actions.add("secretsmanager:GetSecretValue")
    scene.replicate(SrcCreds="docker-hub")


@under("invalid login in")
def secret_of_no_known_form(scene: Scene) -> None:
    scene.world.keep_secret("docker-hub", json.dumps({"user": "ann"}), "eu-west-1")
    scene.replicate(SrcCreds="docker-hub")


@under("cannot assume the role")
def role_that_is_closed(scene: Scene) -> None:
    scene.open()
    scene.replicate(f"{ECR}/team/app:1.0", f"{OTHER}/app:1.0", SrcRoleArn=ROLE)


@under("pull rate limit exceeded")
def pull_limit(scene: Scene) -> None:
    scene.world.aws.docker_hub.pull_limit = 0
    scene.replicate()


@under("rate limit exceeded, unavailable, after … attempts")
def throttled(scene: Scene) -> None:
    scene.open(reads=RegistryError(ErrorCode.TOOMANYREQUESTS, "slow down", status=429))
    scene.replicate(f"{OTHER}/app:1.0", RetryConfigs=_ONCE)


@under("rate limit exceeded, unavailable, after … attempts")
def unavailable(scene: Scene) -> None:
    scene.answer(OTHER, _always(Response(503)))
    scene.replicate(f"{OTHER}/app:1.0", RetryConfigs=_ONCE)


@under("rate limit exceeded, unavailable, after … attempts")
def unreachable(scene: Scene) -> None:
    scene.world.aws.proxy.rejection = 502
    scene.replicate("no-such.example.com/app:1.0", RetryConfigs=_ONCE)


@under("proxy … requires a login, rejected its login, refused the connection")
def proxy_that_wants_a_login(scene: Scene) -> None:
    scene.world.aws.proxy.rejection = 407
    scene.replicate()


@under("proxy … requires a login, rejected its login, refused the connection")
def proxy_that_does_not_know_the_host(scene: Scene) -> None:
    scene.replicate(f"{OTHER}/app:1.0")


@under("ECR closes connections if")
def dropped(scene: Scene) -> None:
    quirks = scene.world.aws.ecr().quirks
    quirks.denied_actions.add("ecr:InitiateLayerUpload")
    quirks.drops_denied_uploads = True
    scene.replicate(RetryConfigs=_ONCE)


@under("certificate verification failed")
def unknown_authority(scene: Scene) -> None:
    scene.trust_nobody()
    scene.replicate(RetryConfigs=_ONCE)


@under("the tag is immutable and points at")
def immutable_tag(scene: Scene) -> None:
    ecr = scene.world.aws.ecr()
    ecr.create_repository("team/fixed", imageTagMutability="IMMUTABLE")
    ecr.put(build_image([build_layer(1000, 9)]), "team/fixed", "1.0")
    scene.replicate(destination=f"{ECR}/team/fixed:1.0")


@under("ECR does not support empty blobs")
def empty_blob(scene: Scene) -> None:
    empty = build_artifact("application/spdx+json", [("application/spdx+json", b"")])
    scene.world.aws.docker_hub.put(empty, "demo/empty", "1.0")
    scene.replicate("demo/empty:1.0")


@under("does not support deleting tags")
def tag_that_stays(scene: Scene) -> None:
    scene.answer(OTHER, keeps_tags(scene.image))
    request = parse_untagging(
        f"{OTHER}/app:1.0@{scene.image.digest}",
        {"SrcImage": "a/b:1", "DestImage": f"{OTHER}/app:1.0", "OnDelete": "Untag"},
    )
    assert request is not None
    replicator = Replicator(Settings())
    try:
        replicator.untag(request, deadline=Deadline(60))
    finally:
        replicator.close()


@under("missing content")
def parts_that_are_not_there(scene: Scene) -> None:
    scene.open(manifests=RegistryError(ErrorCode.MANIFEST_BLOB_UNKNOWN, "blob unknown"))
    scene.replicate(destination=f"{OTHER}/app:1.0")


@under("the upload session was lost")
def upload_that_is_lost(scene: Scene) -> None:
    scene.open(blobs=RegistryError(ErrorCode.BLOB_UPLOAD_UNKNOWN, "blob upload unknown"))
    scene.replicate(destination=f"{OTHER}/app:1.0")


@under("S3 closed the connection")
def storage_that_breaks_off(scene: Scene) -> None:
    source = scene.save(saved("app:1.0", 1))
    with ObjectStorage("builds") as storage:
        storage.put("app.tar", scene.directory / "app.tar")
        storage.alteration = lambda _, response: dataclasses.replace(response, drop_after_bytes=9)
        scene.environment.setenv("AWS_ENDPOINT_URL_S3", storage.url)
        scene.replicate(source, RetryConfigs=_ONCE)


@under("blocked redirect, blocked upload location, blocked token service")
def led_inward(scene: Scene) -> None:
    inward = {"Location": "http://169.254.169.254/latest/meta-data"}
    scene.answer(OTHER, _always(Response(307, inward)))
    scene.replicate(f"{OTHER}/app:1.0")


@under("invalid response")
def odd_sign_in(scene: Scene) -> None:
    scene.answer(OTHER, _always(Response(401, {"WWW-Authenticate": "Negotiate"})))
    scene.replicate(f"{OTHER}/app:1.0")


@under("cannot copy referrer")
def referrer_that_is_refused(scene: Scene) -> None:
    hub = scene.world.aws.docker_hub
    sbom = build_artifact("application/spdx+json", [("text/plain", b"-")], subject=scene.image)
    hub.put(sbom, "library/nginx")
    scene.open(referrers=RegistryError(ErrorCode.UNSUPPORTED, "no referrers here", status=405))
    scene.replicate(destination=f"{OTHER}/app:1.0", CopyReferrers="required")


@under("no valid signature")
def unsigned_image(scene: Scene) -> None:
    key = pem(ec.generate_private_key(ec.SECP256R1()))
    scene.replicate(VerifySignatureKey=key)


@under("digest mismatch")
def bytes_of_another_blob(scene: Scene) -> None:
    hub = scene.world.aws.docker_hub.store
    layer = max(
        hub.blobs("library/nginx"), key=lambda each: len(hub.read_blob("library/nginx", each))
    )
    found = hub.find_blob("library/nginx", layer)
    assert found is not None
    content = bytearray(found.path.read_bytes())
    content[-1] ^= 1
    found.path.write_bytes(content)
    scene.replicate()


@under("invalid manifest")
def manifest_of_schema_1(scene: Scene) -> None:
    content = json.dumps({"schemaVersion": 1, "fsLayers": []}).encode()
    media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    scene.answer(OTHER, _always(Response(200, {"Content-Type": media_type}, content)))
    scene.replicate(f"{OTHER}/app:1.0")


@under("invalid archive")
def archive_that_is_cut_off(scene: Scene) -> None:
    scene.replicate(scene.save(saved("app:1.0", 1), cut=20_000))


@under("cannot read … s3:GetObject")
def missing_object(scene: Scene) -> None:
    scene.save(saved("app:1.0", 1))
    scene.replicate("s3://builds/app-2.tar")


@under("timed out")
def no_time(scene: Scene) -> None:
    scene.replicate(seconds=0)


@under("does not fit in one invocation, timed out after")
def blob_that_is_too_large(_: Scene) -> None:
    largest = Descriptor("", Digest.of(b"layer"), 20_000_000_000)
    snapshot = ProgressSnapshot(Digest.of(b"image"), 4, largest, 12_000_000)
    Continuation(0).next_run(snapshot, streams=1, span_seconds=880, left_seconds=3000)


@under("does not fit in one invocation, timed out after")
def last_invocation(_: Scene) -> None:
    snapshot = ProgressSnapshot(Digest.of(b"image"), 4, None, 12_000_000)
    run = dataclasses.replace(Continuation(0), invocation=MAX_INVOCATIONS)
    run.next_run(snapshot, streams=1, span_seconds=880, left_seconds=3000)
