"""A replication for each documented failure. It raises the error that a stack reports.

Each failure is registered under its heading in `docs/troubleshooting.md`.
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
from tests.documents.scene import ECR, OTHER, Scene, saved, undeletable_tags
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

Failure = Callable[[Scene], object]
#: Failures with their headings in the documentation.
FAILURES: Final[list[tuple[str, Failure]]] = []


def documented_under(heading: str) -> Callable[[Failure], Failure]:
    """Register a failure under a heading of the documentation."""

    def register(failure: Failure) -> Failure:
        FAILURES.append((heading, failure))
        return failure

    return register


def _always(response: Response) -> Application:
    return lambda _: response


@documented_under("unknown property")
def unknown_property(scene: Scene) -> None:
    scene.replicate(CopyImageIndexes="true")


@documented_under("is required")
def missing_property(_: Scene) -> None:
    parse_request({"SrcImage": "nginx:1.27"})


@documented_under("is not a boolean, is not one of, is not a string")
def wrong_type(scene: Scene) -> None:
    scene.replicate(CopyImageIndex="maybe")


@documented_under("is not a boolean, is not one of, is not a string")
def invalid_choice(scene: Scene) -> None:
    scene.replicate(OnDelete="Remove")


@documented_under("it cannot be combined with")
def conflicting_properties(scene: Scene) -> None:
    scene.replicate(CopyImageIndex="true", ImageArch="arm64")


@documented_under("is a single image, not an index")
def tags_without_an_index(scene: Scene) -> None:
    scene.replicate(CopyImageIndex="true", ArchImageTags={"arm64": "1.0-arm64"})


@documented_under("is not in a private ECR registry")
def repository_outside_ecr(scene: Scene) -> None:
    scene.replicate(destination=f"{OTHER}/app:1.0", CreateRepository="true")


@documented_under("is an archive, which has no referrers and signatures")
def referrers_of_an_archive(scene: Scene) -> None:
    scene.replicate(scene.save(saved("app:1.0", 1)), CopyReferrers="true")


@documented_under("neither user:password nor the ARN or name of a secret")
def unreadable_credentials(scene: Scene) -> None:
    scene.replicate(SrcCreds="team secrets")


@documented_under("invalid image reference")
def url_for_a_reference(scene: Scene) -> None:
    scene.replicate("https://hub.docker.com/_/nginx")


@documented_under("invalid archive reference")
def archive_without_a_key(scene: Scene) -> None:
    scene.replicate("s3://builds")


@documented_under("is not allowed")
def source_that_is_not_allowed(scene: Scene) -> None:
    allowed = AllowLists.parse("*.dkr.ecr.eu-west-1.amazonaws.com", "")
    scene.replicate(settings=Settings(allowed=allowed))


@documented_under("is not allowed")
def destination_that_is_not_allowed(scene: Scene) -> None:
    allowed = AllowLists.parse("", f"{ECR}/mirror/*")
    scene.replicate(settings=Settings(allowed=allowed))


@documented_under("image not found, repository not found")
def missing_image(scene: Scene) -> None:
    scene.replicate("nginx:1.72")


@documented_under("ECR repository … does not exist")
def missing_repository(scene: Scene) -> None:
    scene.replicate(destination=f"{ECR}/team/other:1.0")


@documented_under("platform … not found in")
def missing_platform(scene: Scene) -> None:
    scene.replicate("demo/index:1.0", Platforms="linux/s390x")


@documented_under("platform … not found in")
def single_image_of_another_platform(scene: Scene) -> None:
    scene.replicate(Platforms="linux/arm64")


@documented_under("not found in the content copied from")
def tag_for_a_platform_that_is_not_copied(scene: Scene) -> None:
    scene.replicate(
        "demo/index:1.0", CopyImageIndex="true", ArchImageTags={"riscv64": "1.0-riscv64"}
    )


@documented_under("the archive holds several images and the reference names none")
def archive_with_several_images(scene: Scene) -> None:
    scene.replicate(scene.save(saved("app:1.0", 1), saved("proxy:2.1", 2)))


@documented_under("image not found in the archive")
def image_missing_in_archive(scene: Scene) -> None:
    location = scene.save(saved("app:1.0", 1), saved("proxy:2.1", 2))
    scene.replicate(f"{location}:app:2.0")


@documented_under("authentication failed, access denied")
def private_image(scene: Scene) -> None:
    scene.cloud.aws.docker_hub.private_repositories.add("library/nginx")
    scene.replicate()


@documented_under("authentication failed, access denied")
def wrong_password(scene: Scene) -> None:
    scene.replicate(SrcCreds="ann:hunter3")


@documented_under("authentication failed, access denied")
def denied_push(scene: Scene) -> None:
    scene.cloud.aws.ecr().quirks.denied_actions.add("ecr:PutImage")
    scene.replicate()


@documented_under("authentication failed for ECR")
def denied_ecr_authentication(scene: Scene) -> None:
    scene.cloud.aws.ecr().quirks.denied_actions.add("ecr:GetAuthorizationToken")
    scene.replicate()


@documented_under("cannot read the secret … not found")
def missing_secret(scene: Scene) -> None:
    scene.replicate(SrcCreds="docker-hub")


@documented_under("cannot read the secret … access denied")
def denied_secret(scene: Scene) -> None:
    scene.cloud.create_secret("docker-hub", "ann:hunter2", "eu-west-1")
    scene.cloud.aws.services.denied_actions.add("secretsmanager:GetSecretValue")
    scene.replicate(SrcCreds="docker-hub")


@documented_under("invalid login in")
def secret_of_unknown_format(scene: Scene) -> None:
    scene.cloud.create_secret("docker-hub", json.dumps({"user": "ann"}), "eu-west-1")
    scene.replicate(SrcCreds="docker-hub")


@documented_under("cannot assume the role")
def denied_role(scene: Scene) -> None:
    scene.open()
    scene.replicate(f"{ECR}/team/app:1.0", f"{OTHER}/app:1.0", SrcRoleArn=ROLE)


@documented_under("pull rate limit exceeded")
def pull_limit(scene: Scene) -> None:
    scene.cloud.aws.docker_hub.pull_limit = 0
    scene.replicate()


@documented_under("rate limit exceeded, unavailable, after … attempts")
def throttled(scene: Scene) -> None:
    scene.open(reads=RegistryError(ErrorCode.TOOMANYREQUESTS, "slow down", status=429))
    scene.replicate(f"{OTHER}/app:1.0", RetryConfigs=_ONCE)


@documented_under("rate limit exceeded, unavailable, after … attempts")
def unavailable(scene: Scene) -> None:
    scene.serve(OTHER, _always(Response(503)))
    scene.replicate(f"{OTHER}/app:1.0", RetryConfigs=_ONCE)


@documented_under("rate limit exceeded, unavailable, after … attempts")
def unreachable(scene: Scene) -> None:
    scene.cloud.aws.proxy.rejection = 502
    scene.replicate("no-such.example.com/app:1.0", RetryConfigs=_ONCE)


@documented_under("proxy … requires a login, rejected its login, refused the connection")
def proxy_that_requires_a_login(scene: Scene) -> None:
    scene.cloud.aws.proxy.rejection = 407
    scene.replicate()


@documented_under("proxy … requires a login, rejected its login, refused the connection")
def host_rejected_by_proxy(scene: Scene) -> None:
    scene.replicate(f"{OTHER}/app:1.0")


@documented_under("ECR closes connections if")
def dropped_connection(scene: Scene) -> None:
    quirks = scene.cloud.aws.ecr().quirks
    quirks.denied_actions.add("ecr:InitiateLayerUpload")
    quirks.drops_denied_uploads = True
    scene.replicate(RetryConfigs=_ONCE)


@documented_under("certificate verification failed")
def untrusted_certificate(scene: Scene) -> None:
    scene.distrust_certificates()
    scene.replicate(RetryConfigs=_ONCE)


@documented_under("the tag is immutable and points at")
def immutable_tag(scene: Scene) -> None:
    ecr = scene.cloud.aws.ecr()
    ecr.create_repository("team/fixed", imageTagMutability="IMMUTABLE")
    ecr.put(build_image([build_layer(1000, 9)]), "team/fixed", "1.0")
    scene.replicate(destination=f"{ECR}/team/fixed:1.0")


@documented_under("ECR does not support empty blobs")
def empty_blob(scene: Scene) -> None:
    empty = build_artifact("application/spdx+json", [("application/spdx+json", b"")])
    scene.cloud.aws.docker_hub.put(empty, "demo/empty", "1.0")
    scene.replicate("demo/empty:1.0")


@documented_under("does not support deleting tags")
def tag_that_cannot_be_deleted(scene: Scene) -> None:
    scene.serve(OTHER, undeletable_tags(scene.image))
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


@documented_under("missing content")
def missing_content(scene: Scene) -> None:
    scene.open(manifests=RegistryError(ErrorCode.MANIFEST_BLOB_UNKNOWN, "blob unknown"))
    scene.replicate(destination=f"{OTHER}/app:1.0")


@documented_under("the upload session was lost")
def lost_upload_session(scene: Scene) -> None:
    scene.open(blobs=RegistryError(ErrorCode.BLOB_UPLOAD_UNKNOWN, "blob upload unknown"))
    scene.replicate(destination=f"{OTHER}/app:1.0", RetryConfigs={"baseDelay": 0})


@documented_under("S3 closed the connection")
def broken_archive_download(scene: Scene) -> None:
    source = scene.save(saved("app:1.0", 1))
    with ObjectStorage("builds") as storage:
        storage.put("app.tar", scene.directory / "app.tar")
        storage.alteration = lambda _, response: dataclasses.replace(response, drop_after_bytes=9)
        scene.environment.setenv("AWS_ENDPOINT_URL_S3", storage.url)
        scene.replicate(source, RetryConfigs=_ONCE)


@documented_under("blocked redirect, blocked upload location, blocked token service")
def redirect_to_private_address(scene: Scene) -> None:
    redirect = {"Location": "http://169.254.169.254/latest/meta-data"}
    scene.serve(OTHER, _always(Response(307, redirect)))
    scene.replicate(f"{OTHER}/app:1.0")


@documented_under("invalid response")
def unsupported_challenge(scene: Scene) -> None:
    scene.serve(OTHER, _always(Response(401, {"WWW-Authenticate": "Negotiate"})))
    scene.replicate(f"{OTHER}/app:1.0")


@documented_under("cannot copy referrer")
def rejected_referrer(scene: Scene) -> None:
    hub = scene.cloud.aws.docker_hub
    sbom = build_artifact("application/spdx+json", [("text/plain", b"-")], subject=scene.image)
    hub.put(sbom, "library/nginx")
    scene.open(referrers=RegistryError(ErrorCode.UNSUPPORTED, "no referrers here", status=405))
    scene.replicate(destination=f"{OTHER}/app:1.0", CopyReferrers="required")


@documented_under("no valid signature")
def unsigned_image(scene: Scene) -> None:
    key = pem(ec.generate_private_key(ec.SECP256R1()))
    scene.replicate(VerifySignatureKey=key)


@documented_under("digest mismatch")
def corrupt_blob(scene: Scene) -> None:
    hub = scene.cloud.aws.docker_hub.store
    layer = max(
        hub.blobs("library/nginx"), key=lambda each: len(hub.read_blob("library/nginx", each))
    )
    found = hub.find_blob("library/nginx", layer)
    assert found is not None
    content = bytearray(found.path.read_bytes())
    content[-1] ^= 1
    found.path.write_bytes(content)
    scene.replicate()


@documented_under("invalid manifest")
def manifest_of_schema_1(scene: Scene) -> None:
    content = json.dumps({"schemaVersion": 1, "fsLayers": []}).encode()
    media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    scene.serve(OTHER, _always(Response(200, {"Content-Type": media_type}, content)))
    scene.replicate(f"{OTHER}/app:1.0")


@documented_under("invalid archive")
def truncated_archive(scene: Scene) -> None:
    scene.replicate(scene.save(saved("app:1.0", 1), cut=20_000))


@documented_under("cannot read … s3:GetObject")
def missing_object(scene: Scene) -> None:
    scene.save(saved("app:1.0", 1))
    scene.replicate("s3://builds/app-2.tar")


@documented_under("timed out")
def expired_deadline(scene: Scene) -> None:
    scene.replicate(seconds=0)


@documented_under("does not fit in one invocation, timed out after")
def blob_that_is_too_large(_: Scene) -> None:
    largest = Descriptor("", Digest.of(b"layer"), 20_000_000_000)
    snapshot = ProgressSnapshot(Digest.of(b"image"), 4, largest, 12_000_000)
    Continuation(0).next_run(snapshot, streams=1, span_seconds=880, left_seconds=3000)


@documented_under("does not fit in one invocation, timed out after")
def last_invocation(_: Scene) -> None:
    snapshot = ProgressSnapshot(Digest.of(b"image"), 4, None, 12_000_000)
    run = dataclasses.replace(Continuation(0), invocation=MAX_INVOCATIONS)
    run.next_run(snapshot, streams=1, span_seconds=880, left_seconds=3000)
