"""An image in ECR as the source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecr_image_replicator.errors import NotFoundError, Side
from ecr_image_replicator.registry.source import RegistrySource

if TYPE_CHECKING:
    from ecr_image_replicator.ecr.api import EcrRepository
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Manifest
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.registry.client import RegistryClient
    from ecr_image_replicator.retries import Backoff


class EcrSource(RegistrySource):
    """An image in a repository of ECR or ECR Public.

    Parameters
    ----------
    reference, client, backoff
        As of `RegistrySource`.
    repository
        The repository in ECR's API.
    """

    def __init__(
        self,
        reference: ImageReference,
        client: RegistryClient,
        backoff: Backoff,
        repository: EcrRepository,
    ) -> None:
        super().__init__(reference, client, backoff)
        self._repository = repository

    def fetch_manifest(self, digest: Digest | None = None) -> Manifest:
        """Read a manifest; for an archived image, which ECR does not find, say that it is archived.

        ECR User Guide, "Archiving an image": requests to pull it fail with a 404 error.
        """
        try:
            return super().fetch_manifest(digest)
        except NotFoundError as error:
            wanted = digest or self._reference.digest
            image_id = {"imageTag": self._reference.tag}
            if wanted is not None:
                image_id = {"imageDigest": str(wanted)}
            if not self._repository.is_archived(image_id):
                raise
            raise NotFoundError(
                f"cannot pull {self._reference}: image not found, it is in ECR's archive storage "
                "class (404 Not Found)",
                side=Side.SOURCE,
                status=error.status,
                code=error.code,
                hint="Restore the image in ECR, or push it again.",
            ) from error
