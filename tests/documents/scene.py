"""Where a mishap happens: AWS, Docker Hub and other registries, and a replication between them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final

import pytest
from local.archives import SavedImage, build_docker_save
from local.certificates import CertificateAuthority
from local.images import Image, build_layer
from local.registry import ErrorCode, Manifest, Operation, RegistryError, SpecificationPolicy, Store
from local.registry.application import RegistryApplication
from local.registry.authentication import NoAuthentication
from local.registry.context import RegistryContext
from local.registry.digests import Digest
from local.registry.uploads import UploadSession
from local.web import Application, Request, Response
from tests.examples.world import World

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings

ECR: Final = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
DESTINATION: Final = f"{ECR}/team/app:1.0"
OTHER: Final = "registry.example.com"


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """AWS, Docker Hub and others under their real names, with an image that is there."""

    world: World
    image: Image
    directory: Path
    environment: pytest.MonkeyPatch

    def replicate(
        self,
        source: str = "nginx:1.27",
        destination: str = DESTINATION,
        *,
        settings: Settings | None = None,
        seconds: float = 60,
        **properties: Any,
    ) -> None:
        """Replicate as a stack would ask for it."""
        named = {"SrcImage": source, "DestImage": destination, **properties}
        replicator = Replicator(settings or Settings())
        try:
            replicator.replicate(
                parse_request(named), deadline=Deadline(seconds), progress=LoggedProgress()
            )
        finally:
            replicator.close()

    def open(self, **policy: Any) -> Store:
        """Open another registry to everybody, and give what it keeps."""
        store = Store(self.directory / OTHER)
        context = RegistryContext(store=store, policy=Manners(**policy))
        self.answer(OTHER, RegistryApplication(context, NoAuthentication()))
        return store

    def answer(self, host: str, application: Application) -> None:
        """Let a host answer."""
        self.world.aws.add_host(host, application)

    def save(self, *images: SavedImage, cut: int | None = None) -> str:
        """Keep an archive of images in S3, or no more than its first bytes."""
        tarball = build_docker_save(self.directory / "app.tar", list(images))
        self.world.keep_object("builds", "app.tar", tarball.read_bytes()[:cut])
        return "s3://builds/app.tar"

    def trust_nobody(self) -> None:
        """Know no authority."""
        nobody = CertificateAuthority(self.directory)
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            self.environment.setenv(name, str(nobody.ca_file))


def saved(name: str, seed: int) -> SavedImage:
    """Make an image for an archive."""
    return SavedImage([build_layer(50_000, seed, "none")], [name])


def keeps_tags(image: Image) -> Application:
    """Give a registry of one image that does not delete its tag."""

    def application(request: Request) -> Response:
        if request.method == "DELETE":
            return RegistryError(ErrorCode.UNSUPPORTED, "no deletions", status=405).response()
        headers = {"Content-Type": image.media_type, "Docker-Content-Digest": image.digest}
        return Response(200, headers, image.manifest)

    return application


@dataclasses.dataclass
class Manners(SpecificationPolicy):
    """A registry that refuses at one point."""

    manifests: RegistryError | None = None
    referrers: RegistryError | None = None
    blobs: RegistryError | None = None
    reads: RegistryError | None = None

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - overrides
        if self.reads is not None and request.method == "HEAD":
            raise self.reads

    def before_blob(self, session: UploadSession, digest: Digest, store: Store) -> None:  # noqa: ARG002 - overrides
        if self.blobs is not None:
            raise self.blobs

    def before_manifest(
        self,
        repository: str,  # noqa: ARG002 - overrides
        reference: str,  # noqa: ARG002 - overrides
        manifest: Manifest,
        store: Store,  # noqa: ARG002 - overrides
    ) -> None:
        if self.manifests is not None:
            raise self.manifests
        if self.referrers is not None and manifest.document.get("subject"):
            raise self.referrers
