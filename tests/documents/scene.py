"""The setup of a failure: AWS, Docker Hub and another registry, and a replication."""

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
from tests.examples.simulated_cloud import SimulatedCloud

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
    """AWS, Docker Hub and other registries with their real names, and an image on Docker Hub."""

    cloud: SimulatedCloud
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
        """Replicate as for a stack's request."""
        named = {"SrcImage": source, "DestImage": destination, **properties}
        replicator = Replicator(settings or Settings())
        try:
            replicator.replicate(
                parse_request(named), deadline=Deadline(seconds), progress=LoggedProgress()
            )
        finally:
            replicator.close()

    def open(self, **policy: Any) -> Store:
        """Start another registry without authentication and return its store."""
        store = Store(self.directory / OTHER)
        context = RegistryContext(store=store, policy=RejectingPolicy(**policy))
        self.serve(OTHER, RegistryApplication(context, NoAuthentication()))
        return store

    def serve(self, host: str, application: Application) -> None:
        """Serve an application at a host name."""
        self.cloud.aws.add_host(host, application)

    def save(self, *images: SavedImage, cut: int | None = None) -> str:
        """Put an archive of images into S3, truncated to `cut` bytes if given."""
        tarball = build_docker_save(self.directory / "app.tar", list(images))
        self.cloud.put_object("builds", "app.tar", tarball.read_bytes()[:cut])
        return "s3://builds/app.tar"

    def distrust_certificates(self) -> None:
        """Trust only a new authority that has signed no certificate."""
        authority = CertificateAuthority(self.directory)
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            self.environment.setenv(name, str(authority.ca_file))


def saved(name: str, seed: int) -> SavedImage:
    """Return an image for an archive."""
    return SavedImage([build_layer(50_000, seed, "none")], [name])


def undeletable_tags(image: Image) -> Application:
    """Return a registry of one image that does not support deletion."""

    def application(request: Request) -> Response:
        if request.method == "DELETE":
            return RegistryError(ErrorCode.UNSUPPORTED, "no deletions", status=405).response()
        headers = {"Content-Type": image.media_type, "Docker-Content-Digest": image.digest}
        return Response(200, headers, image.manifest)

    return application


@dataclasses.dataclass
class RejectingPolicy(SpecificationPolicy):
    """A policy that rejects one kind of request."""

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
