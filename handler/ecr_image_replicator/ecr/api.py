"""ECR's control plane, as far as a repository that images are put into needs it.

Amazon ECR API reference; what goes over the distribution protocol is in `registry`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.aws.clients import AwsEndpoint
from ecr_image_replicator.aws.operations import Operation
from ecr_image_replicator.errors import AwsError, DeniedError, NotFoundError, RegistryError, Side
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.tag_mutability import TagMutability
from ecr_image_replicator.sanitize import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ecr_image_replicator.aws.clients import AwsCaller
    from ecr_image_replicator.model.ecr_hosts import EcrRegistry
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.request.repository_settings import RepositorySettings

_LOGGER: Final = logging.getLogger(__name__)
#: BatchCheckLayerAvailability and BatchDeleteImage: how many one call takes.
_BATCH: Final = 100
#: ListImages: the largest maxResults.
_LIST_PAGE: Final = 1000
_NO_REPOSITORY: Final = "RepositoryNotFoundException"


class RepositoryMissingError(NotFoundError):
    """There is no such ECR repository."""


class EcrRepository:
    """One repository, by ECR's API.

    Parameters
    ----------
    reference
        What the stack named.
    registry
        What its host says.
    caller
        Of the destination's side.
    """

    def __init__(self, reference: ImageReference, registry: EcrRegistry, caller: AwsCaller) -> None:
        self._reference = reference
        self._registry = registry
        self._caller = caller
        self._place = AwsEndpoint(registry.region, registry.is_fips, registry.is_dual_stack)
        self._name: Mapping[str, Any] = (
            # its names begin with the registry's alias, which the API does not know
            {"repositoryName": reference.repository.partition("/")[2]}
            if registry.is_public
            else {"registryId": registry.account, "repositoryName": reference.repository}
        )

    @property
    def region(self) -> str:
        """Where the repository is, or would be."""
        return self._registry.region

    def find_layers(self, digests: Sequence[Digest]) -> frozenset[Digest] | None:
        """Give the layers that are there, asking for a hundred at a time.

        None when that is denied, and for ECR Public, whose API wants to know its own names.

        Raises
        ------
        RepositoryMissingError
            There is no repository.
        RegistryError
            The question was refused.
        """
        if self._registry.is_public:
            return None
        found: set[Digest] = set()
        for batch in _batches(digests):
            parameters = {**self._name, "layerDigests": [str(digest) for digest in batch]}
            try:
                answer = self._caller.call(Operation.CHECK_LAYERS, parameters, self._place)
            except AwsError as error:
                if error.is_denied:
                    _LOGGER.info("layers are asked for one by one: %s", error)
                    return None
                raise self._refusal(error, "say which layers it has") from error
            there = {
                layer.get("layerDigest")
                for layer in answer.get("layers", [])
                if layer.get("layerAvailability") == "AVAILABLE"
            }
            found |= {digest for digest in batch if str(digest) in there}
        return frozenset(found)

    def list_tag_digests(self) -> Mapping[str, Digest] | None:
        """Return the digest that each tag points at.

        Returns
        -------
        Mapping or None
            None if `ecr:ListImages` is denied, and for ECR Public.

        Raises
        ------
        RepositoryMissingError
            The repository does not exist.
        RegistryError
            ECR rejected the call.
        """
        if self._registry.is_public:
            return None
        tags: dict[str, Digest] = {}
        parameters = {
            **self._name,
            "maxResults": _LIST_PAGE,
            "filter": {"tagStatus": "TAGGED"},
        }
        while True:
            try:
                response = self._caller.call(Operation.LIST_IMAGES, parameters, self._place)
            except AwsError as error:
                if error.is_denied:
                    _LOGGER.info("cannot list tags, each is read on its own: %s", error)
                    return None
                raise self._refusal(error, "list the images of") from error
            for image_id in response.get("imageIds", []):
                tags[image_id["imageTag"]] = Digest.parse(image_id["imageDigest"])
            if not (token := response.get("nextToken")):
                return tags
            parameters["nextToken"] = token

    def find_mutability(self) -> TagMutability | None:
        """Ask which tags may be moved; None when that is denied, and for ECR Public.

        Raises
        ------
        RepositoryMissingError
            There is no repository.
        RegistryError
            The question was refused.
        """
        if self._registry.is_public:
            return None
        parameters = {
            "registryId": self._registry.account,
            "repositoryNames": [self._reference.repository],
        }
        try:
            answer = self._caller.call(Operation.DESCRIBE_REPOSITORY, parameters, self._place)
        except AwsError as error:
            if error.is_denied:
                _LOGGER.info("whether tags may be moved is not known: %s", error)
                return None
            raise self._refusal(error, "describe the repository") from error
        for repository in answer.get("repositories", []):
            filters = repository.get("imageTagMutabilityExclusionFilters", [])
            wildcards = tuple(str(each.get("filter", "")) for each in filters)
            return TagMutability(repository.get("imageTagMutability", "MUTABLE"), wildcards)
        raise self.missing()

    def create(self, settings: RepositorySettings) -> None:
        """Make the repository; one that somebody else makes at the same moment will do.

        Raises
        ------
        RegistryError
            It cannot be made, or it was and one of its policies is refused.
        """
        try:
            self._caller.call(
                Operation.CREATE_REPOSITORY, {**self._name, **_creation(settings)}, self._place
            )
        except AwsError as error:
            if error.code == "RepositoryAlreadyExistsException":
                _LOGGER.info("the repository was made by somebody else meanwhile")
                return
            raise self._refusal(error, "make the repository") from error
        _LOGGER.info("made the repository", extra={"repository": self._reference.name})
        policies = (
            (Operation.PUT_LIFECYCLE_POLICY, "lifecyclePolicyText", settings.lifecycle_policy),
            (Operation.PUT_REPOSITORY_POLICY, "policyText", settings.repository_policy),
        )
        for operation, key, policy in policies:
            if policy:
                try:
                    self._caller.call(operation, {**self._name, key: policy}, self._place)
                except AwsError as error:
                    asked = "give the repository, which has been made just now, its policy"
                    raise self._refusal(error, asked) from error

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Remove tags from their images; a tag or a repository that is gone is as well.

        Raises
        ------
        RegistryError
            A tag cannot be removed.
        """
        operation = (
            Operation.REMOVE_PUBLIC_TAGS if self._registry.is_public else Operation.REMOVE_TAGS
        )
        for batch in _batches(tags):
            parameters = {**self._name, "imageIds": [{"imageTag": tag} for tag in batch]}
            try:
                answer = self._caller.call(operation, parameters, self._place)
            except AwsError as error:
                if error.code == _NO_REPOSITORY:
                    return
                raise self._refusal(error, "remove the tags") from error
            for failure in answer.get("failures", []):
                code = str(failure.get("failureCode", ""))
                if code == "ImageNotFound":
                    continue
                tag = failure.get("imageId", {}).get("imageTag", "")
                found = sanitize(failure.get("failureReason"), 200)
                raise RegistryError(
                    f"ECR did not remove the tag {tag} from {self._reference.name} "
                    f"({code}: {found})",
                    side=Side.DESTINATION,
                    code=code,
                )

    def missing(self) -> RepositoryMissingError:
        """Make the sentence for a repository that is not there."""
        return RepositoryMissingError(
            f"there is no repository {self._reference.repository} in {self._where}",
            side=Side.DESTINATION,
            status=404,
            code="NAME_UNKNOWN",
        )

    @property
    def _where(self) -> str:
        if self._registry.is_public:
            return "ECR Public; make it first"
        return (
            f"ECR in {self._registry.region} of the account {self._registry.account}; make it, or "
            "let CreateRepository make it"
        )

    def _refusal(self, error: AwsError, asked: str) -> RegistryError:
        if error.code == _NO_REPOSITORY:
            return self.missing()
        sentence = f"ECR was asked to {asked} {self._reference.name}: {error}"
        if error.is_denied:
            return DeniedError(
                f"{sentence}; grant {self._caller.identity} {error.action} on the repository",
                side=Side.DESTINATION,
                status=403,
                code=error.code,
            )
        return RegistryError(sentence, side=Side.DESTINATION, code=error.code)


def _creation(settings: RepositorySettings) -> dict[str, Any]:
    """Render CreateRepository's parameters."""
    encryption = {"encryptionType": settings.encryption_type}
    if settings.kms_key:
        encryption["kmsKey"] = settings.kms_key
    parameters: dict[str, Any] = {
        "imageTagMutability": settings.image_tag_mutability,
        "imageScanningConfiguration": {"scanOnPush": settings.scan_on_push},
        "encryptionConfiguration": encryption,
    }
    if settings.mutability_exclusions:
        parameters["imageTagMutabilityExclusionFilters"] = [
            {"filterType": "WILDCARD", "filter": wildcard}
            for wildcard in settings.mutability_exclusions
        ]
    if settings.tags:
        parameters["tags"] = [{"Key": key, "Value": value} for key, value in settings.tags.items()]
    return parameters


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
