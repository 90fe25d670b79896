"""An ECR repository as the destination: the distribution protocol, and ECR's API where it helps.

ECR's manners, and what is done about each, are in docs/decisions/0010-ecr-as-destination.md.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final, TypeVar

from ecr_image_replicator.ecr.api import RepositoryMissingError
from ecr_image_replicator.errors import (
    ImmutableTagError,
    NotFoundError,
    RegistryError,
    Side,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ecr_image_replicator.copy.ports import BlobOutcome, ReferrerStore, Upload
    from ecr_image_replicator.ecr.api import EcrRepository
    from ecr_image_replicator.model.digests import ByteReader, Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.registry.destination import RegistryDestination
    from ecr_image_replicator.request.repository_settings import RepositorySettings

_Result = TypeVar("_Result")
_LOGGER: Final = logging.getLogger(__name__)
_NO_REPOSITORY: Final = "NAME_UNKNOWN"
#: Statuses of a refused manifest that the same content, there already, makes good.
_PERHAPS_THERE: Final = frozenset({400, 409})


class EcrDestination:
    """A repository of ECR or ECR Public.

    Parameters
    ----------
    reference
        What the stack named.
    registry
        The repository by the distribution protocol.
    repository
        The same by ECR's API.
    new_repository
        How to make it should it be missing; None when it is not to be made.
    """

    def __init__(
        self,
        reference: ImageReference,
        registry: RegistryDestination,
        repository: EcrRepository,
        new_repository: RepositorySettings | None,
    ) -> None:
        self._reference = reference
        self._registry = registry
        self._repository = repository
        self._new_repository = new_repository
        self._creation = threading.Lock()
        #: None while nothing has told.
        self._is_missing: bool | None = None
        self._is_created = False

    @property
    def referrers(self) -> ReferrerStore:
        """What refers to images of this repository; ECR has the referrers API."""
        return self._registry.referrers

    def find_manifest(self, tag: str) -> Manifest | None:
        """Read what the tag points at."""
        return self._registry.find_manifest(tag)

    def find_digest(self, tag: str) -> Digest | None:
        """Give what the tag points at without reading it."""
        return self._registry.find_digest(tag)

    def list_tag_digests(self) -> Mapping[str, Digest] | None:
        """Return the digest that each tag points at; None if only single tags can be read."""
        return self._repository.list_tag_digests()

    def check_tags(self, tags: Mapping[str, Digest | None], content: Digest) -> None:
        """Refuse to move an immutable tag; ECR is asked only when a tag would have to move."""
        moved = {tag: there for tag, there in tags.items() if there not in {None, content}}
        if not moved:
            return
        mutability = self._repository.find_mutability()
        for tag, there in moved.items():
            if mutability is not None and mutability.is_immutable(tag):
                raise self._immutable(tag, there, content)

    def repository_missing(self) -> bool:
        """Tell whether a push would have to make the repository first.

        Raises
        ------
        RepositoryMissingError
            It is missing and is not to be made.
        """
        if self._is_missing is None:
            try:
                self._repository.find_mutability()
            except RepositoryMissingError:
                self._is_missing = True
        if self._is_missing and self._new_repository is None:
            raise self._repository.missing()
        return bool(self._is_missing)

    @property
    def needs_existence_check(self) -> bool:
        """Whether a blob that `find_blobs` did not name may be there all the same."""
        return self._registry.needs_existence_check

    def find_blobs(self, descriptors: Sequence[Descriptor]) -> frozenset[Digest]:
        """Ask for all at once, or, where that is denied, let each be asked for with a HEAD."""
        digests = [descriptor.digest for descriptor in descriptors]
        try:
            there = self._repository.find_layers(digests)
            self._is_missing = None if there is None else False
        except RepositoryMissingError:
            # without settings a push may still make it, by a template of the account's for that
            self._is_missing = True
            there = frozenset()
        self._registry.needs_existence_check = there is None
        self._check_empty_blobs(descriptors, there)
        return there or frozenset()

    def start_upload(
        self, descriptor: Descriptor, *, mount_from: str | None
    ) -> Upload | BlobOutcome:
        """Mount or find a blob, or open its upload session; make the repository if need be."""
        return self._with_repository(
            lambda: self._registry.start_upload(descriptor, mount_from=mount_from)
        )

    def has_blob(self, digest: Digest) -> bool:
        """Ask for one blob."""
        return self._registry.has_blob(digest)

    def open_upload(self, descriptor: Descriptor) -> Upload | BlobOutcome:
        """Open an upload session without asking whether the blob is there."""
        return self._with_repository(lambda: self._registry.open_upload(descriptor))

    def start_streamed_upload(self) -> Upload:
        """Open an upload session; make the repository if need be."""
        return self._with_repository(self._registry.start_streamed_upload)

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[ByteReader]:
        """Start reading a blob that is there."""
        return self._registry.open_blob(descriptor)

    def push_manifest(self, manifest: Manifest, reference: str) -> None:
        """PUT the manifest's own bytes; the same content under an immutable tag is success."""
        try:
            self._with_repository(lambda: self._registry.push_manifest(manifest, reference))
        except RegistryError as error:
            if error.status not in _PERHAPS_THERE:
                raise
            there = self._registry.find_digest(reference)
            if there == manifest.digest:
                _LOGGER.info("there already", extra={"reference": reference})
                return
            if there is not None and error.code == "TAG_INVALID":
                raise self._immutable(reference, there, manifest.digest) from error
            raise

    def remove_tags(self, tags: Sequence[str], content: Digest) -> None:
        """Remove the tags that still point at the content, by ECR's API, and keep the content."""
        found = [tag for tag in tags if self._registry.find_digest(tag) == content]
        if found:
            manifest = self._registry.find_manifest(found[0])
            self._repository.remove_tags(found)
            self._keep(manifest, content)
        _LOGGER.info("removed tags", extra={"tags": found, "left_alone": len(tags) - len(found)})

    def _keep(self, manifest: Manifest | None, content: Digest) -> None:
        """Put an image back by its digest: ECR deletes one together with its last tag."""
        if manifest is None or manifest.digest != content:
            return
        if self._registry.find_digest(str(content)) is not None:
            return
        try:
            self._registry.push_manifest(manifest, str(content))
        except RegistryError as error:
            # the names are gone as was asked; a deletion must not fail for what was a favour
            _LOGGER.warning("the image was deleted with its last tag: %s", error)

    def _with_repository(self, step: Callable[[], _Result]) -> _Result:
        """Take a step that a missing repository may stop; make it where that is wanted."""
        if self._is_missing:
            self._create_if_wanted()
        try:
            return step()
        except NotFoundError as error:
            if error.code != _NO_REPOSITORY:
                raise
            if not self._create_if_wanted():
                raise self._repository.missing() from error
        except UnavailableError as error:
            # ECR closes the connection instead of answering when there is no repository
            if error.status:
                raise
            self._explain_silence(error)
        return step()

    def _explain_silence(self, error: UnavailableError) -> None:
        """Find out whether a connection was dropped for want of a repository, and make it.

        Raises
        ------
        RegistryError
            It is missing and is not to be made, or it is there and something else is wrong.
        """
        try:
            self._repository.find_mutability()
        except RepositoryMissingError:
            if self._create_if_wanted():
                return
            raise
        with self._creation:
            if self._is_created:
                return  # by another stream, after this one's connection was dropped
        raise UnavailableError(
            *error.message,
            "; ECR drops connections when the repository is missing or when "
            "ecr:InitiateLayerUpload is not granted on it",
            side=Side.DESTINATION,
        ) from error

    def _create_if_wanted(self) -> bool:
        """Make the repository, once; False when it is not to be made."""
        if self._new_repository is None:
            return False
        with self._creation:
            if not self._is_created:
                self._repository.create(self._new_repository)
                self._is_created = True
        return True

    def _check_empty_blobs(
        self, descriptors: Sequence[Descriptor], there: frozenset[Digest] | None
    ) -> None:
        """Refuse an image with an empty blob before anything is moved: ECR has no way to take it.

        UploadLayerPart names a part by its first and its last byte, and CompleteLayerUpload wants
        a part; a blob of no bytes has neither (EmptyUploadException).
        """
        for descriptor in descriptors:
            if descriptor.size_bytes or descriptor.digest in (there or ()):
                continue
            if there is None and self._registry.has_blob(descriptor.digest):
                continue
            raise RegistryError(
                f"the image holds the blob {descriptor.digest} of no bytes, and ECR takes none "
                f"such into {self._reference.name}; build the image or artifact without it, an "
                "empty JSON object {} stands in its place by the OCI image specification",
                side=Side.DESTINATION,
            )

    def _immutable(self, tag: str, there: Digest | None, content: Digest) -> ImmutableTagError:
        return ImmutableTagError(
            f"the tag {tag} of {self._reference.name} is immutable and points at {there}, so it "
            f"cannot be made to point at {content}; choose a new tag, or allow the repository's "
            "tags to be moved",
            side=Side.DESTINATION,
            status=400,
            code="TAG_INVALID",
        )
