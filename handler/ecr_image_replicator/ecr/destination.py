"""An ECR repository as the destination: the distribution protocol, and ECR's API where it helps.

docs/ecr.md lists how ECR differs from the specification, and
docs/decisions/0009-use-the-ecr-api-beside-the-registry-protocol.md has the reasons.
"""

from __future__ import annotations

import functools
import itertools
import logging
import threading
from typing import TYPE_CHECKING, Final, TypeVar

from ecr_image_replicator.copy.ports import BlobOutcome
from ecr_image_replicator.ecr.api import RepositoryMissingError
from ecr_image_replicator.errors import (
    ImmutableTagError,
    NotFoundError,
    RegistryError,
    Side,
    TransientError,
    UnavailableError,
    UnknownHostError,
)
from ecr_image_replicator.registry.destination import RegistryDestination
from ecr_image_replicator.registry.http.session import ConnectionTimeoutError
from ecr_image_replicator.registry.immutable_tags import TAG_INVALID, immutable_tag_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ecr_image_replicator.ecr.api import EcrRepository
    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.registry.client import RegistryClient
    from ecr_image_replicator.registry.quirks import RegistryQuirks
    from ecr_image_replicator.registry.uploads import RegistryUpload
    from ecr_image_replicator.request.repository_settings import RepositorySettings
    from ecr_image_replicator.retries import Backoff

_Result = TypeVar("_Result")
_LOGGER: Final = logging.getLogger(__name__)
_NO_REPOSITORY: Final = "NAME_UNKNOWN"
#: Statuses of a rejected manifest that may be at the destination already.
_PERHAPS_THERE: Final = frozenset({400, 409})
_MIB: Final = 1024 * 1024
#: Amazon ECR service quotas, "Layer size", and those of ECR Public.
_MAX_LAYER_MIB: Final = 52_000
_MAX_PUBLIC_LAYER_MIB: Final = 10_000


class EcrDestination(RegistryDestination):
    """A repository of ECR or ECR Public.

    Parameters
    ----------
    reference, client, backoff, quirks
        As of `RegistryDestination`.
    repository
        The repository in ECR's API.
    new_repository
        Settings to create it with if it is missing; None to not create it.
    """

    def __init__(
        self,
        reference: ImageReference,
        client: RegistryClient,
        backoff: Backoff,
        quirks: RegistryQuirks,
        repository: EcrRepository,
        new_repository: RepositorySettings | None,
    ) -> None:
        super().__init__(reference, client, backoff, quirks)
        self._repository = repository
        self._new_repository = new_repository
        self._propagation = backoff.propagation
        self._creation = threading.Lock()
        #: None while unknown.
        self._is_missing: bool | None = None
        self._is_created = False

    def list_tag_digests(self) -> Mapping[str, Digest] | None:
        """Return the digest that each tag points at; None if only single tags can be read."""
        return self._repository.list_tag_digests()

    def check_tags(self, tags: Mapping[str, Digest | None], content: Digest) -> None:
        """Reject a change of an immutable tag; ask ECR only if a tag would change."""
        changed = {tag: current for tag, current in tags.items() if current not in {None, content}}
        if not changed:
            return
        mutability = self._repository.find_mutability()
        for tag, current in changed.items():
            if mutability is not None and mutability.is_immutable(tag):
                raise self._immutable(tag, current, content)

    def repository_missing(self) -> bool:
        """Return whether a push would create the repository first.

        Raises
        ------
        RepositoryMissingError
            It does not exist, and the request does not create it.
        """
        if self._is_missing is None:
            try:
                self._repository.find_mutability()
            except RepositoryMissingError:
                self._is_missing = True
        if self._is_missing and self._new_repository is None:
            raise self._repository.missing()
        return bool(self._is_missing)

    def find_blobs(self, descriptors: Sequence[Descriptor]) -> frozenset[Digest]:
        """Return the blobs that exist, with one call per 100; if denied, each needs a HEAD.

        Raises
        ------
        RegistryError
            ECR does not accept one of the others because of its size.
        """
        digests = [descriptor.digest for descriptor in descriptors]
        try:
            found = self._repository.find_layers(digests)
            self._is_missing = None if found is None else False
        except RepositoryMissingError:
            # a push may still create it, from a repository creation template
            self._is_missing = True
            found = frozenset()
        self.needs_existence_check = found is None
        for descriptor in descriptors:
            self._check_size(descriptor, found)
        return found or frozenset()

    def open_upload(self, descriptor: Descriptor) -> RegistryUpload | BlobOutcome:
        """Open an upload session without checking whether the blob exists."""
        return self._with_repository(functools.partial(super().open_upload, descriptor))

    def start_streamed_upload(self) -> RegistryUpload:
        """Open an upload session; create the repository if needed."""
        return self._with_repository(super().start_streamed_upload)

    def _mount(
        self, descriptor: Descriptor, repository: str
    ) -> RegistryUpload | BlobOutcome | None:
        return self._with_repository(functools.partial(super()._mount, descriptor, repository))

    def push_manifest(self, manifest: Manifest, reference: str) -> None:
        """Push a manifest's bytes; the same content under an immutable tag is success."""
        try:
            self._with_repository(functools.partial(super().push_manifest, manifest, reference))
        except RegistryError as error:
            if error.status not in _PERHAPS_THERE or isinstance(error, ImmutableTagError):
                raise
            current = self.find_digest(reference)
            if current == manifest.digest:
                _LOGGER.info("the manifest exists already", extra={"reference": reference})
                return
            if current is not None and error.code == TAG_INVALID:
                raise self._immutable(reference, current, manifest.digest) from error
            raise

    def remove_tags(self, tags: Sequence[str], content: Digest) -> None:
        """Remove the tags that still point at the content, by ECR's API; keep the content."""
        removed = [tag for tag in tags if self.find_digest(tag) == content]
        kept: tuple[str, ...] = ()
        if removed:
            manifest = self.find_manifest(removed[0])
            kept = self._repository.remove_tags(removed)
            self._keep(manifest, content)
        if kept:
            _LOGGER.warning(
                "ECR keeps tags whose image is also in an index of the repository",
                extra={"tags": list(kept)},
            )
        _LOGGER.info(
            "removed tags",
            extra={
                "tags": [tag for tag in removed if tag not in kept],
                "kept": len(tags) - len(removed) + len(kept),
            },
        )

    def _keep(self, manifest: Manifest | None, content: Digest) -> None:
        """Push an image by its digest: ECR deletes an image together with its last tag."""
        if manifest is None or manifest.digest != content:
            return
        if self.find_digest(str(content)) is not None:
            return
        try:
            super().push_manifest(manifest, str(content))
        except RegistryError as error:
            # the tags are removed, as requested; that the image stays is more than was promised
            _LOGGER.warning("ECR deleted the image together with its last tag: %s", error)

    def _with_repository(self, step: Callable[[], _Result]) -> _Result:
        """Do a step that fails if the repository is missing; create it if that is requested."""
        if self._is_missing:
            self._create_if_requested()
        for attempt in itertools.count(1):
            try:
                return step()
            except NotFoundError as error:
                if error.code != _NO_REPOSITORY:
                    raise
                if not self._create_if_requested():
                    raise self._repository.missing() from error
                return step()
            except UnavailableError as error:
                # ECR may close the connection without a response, see `_has_created`
                if not _is_closed(error):
                    raise
                if self._has_created():
                    return step()
                if not self._waited_for_permission(attempt, error):
                    raise self._denied_silently(error) from error
        raise AssertionError  # itertools.count has no end

    def _has_created(self) -> bool:
        """Find out if ECR closed a connection because the repository is missing, and create it.

        False if the repository exists, so that there is another reason.

        Raises
        ------
        RepositoryMissingError
            The repository is missing, and the request does not create it.
        """
        try:
            self._repository.find_mutability()
        except RepositoryMissingError:
            if self._create_if_requested():
                return True
            raise
        with self._creation:
            return self._is_created  # by another stream, after this one's connection was closed

    def _waited_for_permission(self, attempt: int, error: UnavailableError) -> bool:
        """Wait if a new permission may not be effective yet; ECR closes connections then."""
        return self._propagation is not None and self._propagation.wait_after(attempt, str(error))

    def _denied_silently(self, error: UnavailableError) -> UnavailableError:
        return UnavailableError(
            *error.message,
            "; ECR closes connections if ecr:InitiateLayerUpload is denied",
            side=Side.DESTINATION,
            hint=f"Allow ecr:InitiateLayerUpload on {self._reference.name}.",
        )

    def _create_if_requested(self) -> bool:
        """Create the repository, once; return False if the request does not create it."""
        if self._new_repository is None:
            return False
        with self._creation:
            if not self._is_created:
                self._repository.create(self._new_repository)
                self._is_created = True
        return True

    def _check_size(self, descriptor: Descriptor, found: frozenset[Digest] | None) -> None:
        """Reject a blob that ECR does not accept, before anything is sent."""
        maximum_mib = _MAX_PUBLIC_LAYER_MIB if self._repository.is_public else _MAX_LAYER_MIB
        if 0 < descriptor.size_bytes <= maximum_mib * _MIB or descriptor.digest in (found or ()):
            return
        if found is None and self.has_blob(descriptor.digest):
            return
        failed = f"cannot push blob {descriptor.digest} to {self._reference.name}"
        if descriptor.size_bytes:
            raise RegistryError(
                f"{failed}: its {descriptor.size_bytes // _MIB:,} MiB exceed ECR's maximum of "
                f"{maximum_mib:,} MiB per layer",
                side=Side.DESTINATION,
                hint="Split the layer.",
            )
        # EmptyUploadException: UploadLayerPart names first and last byte, an empty blob has none
        raise RegistryError(
            f"{failed}: ECR does not support empty blobs",
            side=Side.DESTINATION,
            hint="Build the image or artifact without it; the OCI image specification's empty "
            "descriptor is the JSON object {}.",
        )

    def _immutable(self, tag: str, current: Digest | None, content: Digest) -> ImmutableTagError:
        return immutable_tag_error(self._reference, tag, current, content)


def _is_closed(error: UnavailableError) -> bool:
    """Return whether the connection was closed: not a status, a timeout, or an unreachable host."""
    cause = error.__cause__
    is_reachable = isinstance(cause, TransientError) and not any(cause.hint)
    is_other = isinstance(cause, ConnectionTimeoutError | UnknownHostError)
    return not error.status and is_reachable and not is_other
