"""The ECR API calls for one repository (Amazon ECR API reference)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.aws.clients import AwsEndpoint
from ecr_image_replicator.aws.operations import Operation
from ecr_image_replicator.errors import (
    Assignment,
    AwsError,
    DeniedError,
    NotFoundError,
    RegistryError,
    Setting,
    Side,
    Term,
    ThrottledError,
)
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.tag_mutability import TagMutability
from ecr_image_replicator.sanitize import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ecr_image_replicator.aws.clients import AwsCaller
    from ecr_image_replicator.errors import Part
    from ecr_image_replicator.model.ecr_hosts import EcrRegistry
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.request.repository_settings import RepositorySettings

_LOGGER: Final = logging.getLogger(__name__)
#: BatchCheckLayerAvailability and BatchDeleteImage: the maximum per call.
_BATCH: Final = 100
#: ListImages: the largest maxResults.
_LIST_PAGE: Final = 1000
_ARCHIVED: Final = frozenset({"ARCHIVED", "ACTIVATING"})
_NO_REPOSITORY: Final = "RepositoryNotFoundException"
_ALREADY_EXISTS: Final = "RepositoryAlreadyExistsException"
_NO_IMAGE: Final = "ImageNotFound"
_REFERENCED: Final = "ImageReferencedByManifestList"
_CREATE_AGAIN: Final = (" and ", Term.RETRY, ": policies are set only when it is created.")
_THROTTLED: Final = frozenset({"ThrottlingException", "LimitExceededException"})


class RepositoryMissingError(NotFoundError):
    """The ECR repository does not exist."""


class EcrRepository:
    """One repository in the ECR API, or the ECR Public API.

    Parameters
    ----------
    reference
        The destination.
    registry
        Account and region of its host.
    caller
        The destination's.
    """

    def __init__(self, reference: ImageReference, registry: EcrRegistry, caller: AwsCaller) -> None:
        self._reference = reference
        self._registry = registry
        self._caller = caller
        self._endpoint = AwsEndpoint(registry.region, registry.is_fips, registry.is_dual_stack)
        self._name: Mapping[str, Any] = (
            # without the registry's alias, which the API does not accept
            {"repositoryName": reference.repository.partition("/")[2]}
            if registry.is_public
            else {"registryId": registry.account, "repositoryName": reference.repository}
        )

    @property
    def is_public(self) -> bool:
        """Whether this is a repository of ECR Public."""
        return self._registry.is_public

    def find_layers(self, digests: Sequence[Digest]) -> frozenset[Digest] | None:
        """Return the blobs that the repository has, with one call per 100.

        Returns
        -------
        frozenset or None
            None if `ecr:BatchCheckLayerAvailability` is denied, and for ECR Public.

        Raises
        ------
        RepositoryMissingError
            The repository does not exist.
        RegistryError
            ECR rejected the call.
        """
        if self._registry.is_public:
            return None
        available: set[Digest] = set()
        for batch in _batches(digests):
            parameters = {**self._name, "layerDigests": [str(digest) for digest in batch]}
            response = self._ask(Operation.CHECK_LAYERS, parameters, "list the layers of")
            if response is None:
                return None
            named = {
                layer.get("layerDigest")
                for layer in response.get("layers", [])
                if layer.get("layerAvailability") == "AVAILABLE"
            }
            available |= {digest for digest in batch if str(digest) in named}
        return frozenset(available)

    def list_tag_digests(self) -> Mapping[str, Digest] | None:
        """Return the digest that each tag points at, with one call per 1,000.

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
        parameters = {**self._name, "maxResults": _LIST_PAGE, "filter": {"tagStatus": "TAGGED"}}
        while True:
            response = self._ask(Operation.LIST_IMAGES, parameters, "list the tags of")
            if response is None:
                return None
            for image_id in response.get("imageIds", []):
                tags[image_id["imageTag"]] = Digest.parse(image_id["imageDigest"])
            if not (token := response.get("nextToken")):
                return tags
            parameters["nextToken"] = token

    def is_archived(self, image_id: Mapping[str, str]) -> bool:
        """Return whether an image is archived, or being restored; False if that is not known.

        Parameters
        ----------
        image_id
            ImageIdentifier in ECR's API: ``{"imageTag": "1.0"}``.
        """
        if self._registry.is_public:
            return False
        parameters = {**self._name, "imageIds": [dict(image_id)]}
        try:
            response = self._caller.call(
                Operation.DESCRIBE_IMAGES, parameters, self._endpoint, waits_for_permission=False
            )
        except AwsError as error:
            _LOGGER.info("cannot find out whether the image is archived: %s", error)
            return False
        details = response.get("imageDetails", [])
        return any(image.get("imageStatus") in _ARCHIVED for image in details)

    def find_mutability(self) -> TagMutability | None:
        """Return the repository's tag mutability.

        Returns
        -------
        TagMutability or None
            None if `ecr:DescribeRepositories` is denied, and for ECR Public.

        Raises
        ------
        RepositoryMissingError
            The repository does not exist.
        RegistryError
            ECR rejected the call.
        """
        if self._registry.is_public:
            return None
        parameters = {
            "registryId": self._registry.account,
            "repositoryNames": [self._reference.repository],
        }
        response = self._ask(Operation.DESCRIBE_REPOSITORY, parameters, "describe")
        if response is None:
            return None
        for repository in response.get("repositories", []):
            filters = repository.get("imageTagMutabilityExclusionFilters", [])
            wildcards = tuple(str(each.get("filter", "")) for each in filters)
            return TagMutability(repository.get("imageTagMutability", "MUTABLE"), wildcards)
        raise self.missing()

    def create(self, settings: RepositorySettings) -> None:
        """Create the repository; one that another process creates at the same time is accepted.

        Raises
        ------
        RegistryError
            ECR rejected the repository, or one of its policies after creating it.
        """
        parameters = {**self._name, **_creation(settings)}
        try:
            self._caller.call(Operation.CREATE_REPOSITORY, parameters, self._endpoint)
        except AwsError as error:
            if error.code == _ALREADY_EXISTS:
                _LOGGER.info("another process created the repository")
                return
            raise self._error(error, "create") from error
        _LOGGER.info("created the repository", extra={"repository": self._reference.name})
        policies = (
            (
                Operation.PUT_LIFECYCLE_POLICY,
                {"lifecyclePolicyText": settings.lifecycle_policy},
                "set the lifecycle policy of the new",
            ),
            (
                Operation.PUT_REPOSITORY_POLICY,
                {"policyText": settings.repository_policy},
                "set the repository policy of the new",
            ),
        )
        for operation, policy, step in policies:
            if any(policy.values()):
                try:
                    self._caller.call(operation, {**self._name, **policy}, self._endpoint)
                except AwsError as error:
                    raise self._error(error, step, is_new=True) from error

    def remove_tags(self, tags: Sequence[str]) -> tuple[str, ...]:
        """Remove tags from their images; a missing tag or repository is accepted.

        Returns
        -------
        tuple
            The tags that ECR keeps because their image is also in an index.

        Raises
        ------
        RegistryError
            ECR rejected the call or one of the tags.
        """
        operation = (
            Operation.REMOVE_PUBLIC_TAGS if self._registry.is_public else Operation.REMOVE_TAGS
        )
        kept: list[str] = []
        for batch in _batches(tags):
            parameters = {**self._name, "imageIds": [{"imageTag": tag} for tag in batch]}
            try:
                response = self._caller.call(operation, parameters, self._endpoint)
            except AwsError as error:
                if error.code == _NO_REPOSITORY:
                    return ()
                raise self._error(error, "remove tags from") from error
            for failure in response.get("failures", []):
                tag = str(failure.get("imageId", {}).get("imageTag", ""))
                if failure.get("failureCode") == _REFERENCED:
                    kept.append(tag)
                elif failure.get("failureCode") != _NO_IMAGE:
                    raise self._not_removed(tag, failure)
        return tuple(kept)

    def missing(self) -> RepositoryMissingError:
        """Return the error for a repository that does not exist."""
        hint: Part | tuple[Part, ...] = (
            "Create it, or set ",
            Assignment(Setting.CREATE_REPOSITORY, "true"),
            ".",
        )
        if self._registry.is_public:
            hint = "Create it."
        return RepositoryMissingError(
            f"cannot push {self._reference}: ECR repository {self._reference.repository} does not "
            f"exist {self._where}",
            side=Side.DESTINATION,
            status=404,
            code="NAME_UNKNOWN",
            hint=hint,
        )

    @property
    def _where(self) -> str:
        if self._registry.is_public:
            return "in ECR Public"
        return f"in account {self._registry.account}, region {self._registry.region}"

    def _ask(self, operation: Operation, parameters: Mapping[str, Any], step: str) -> Any:
        """Make a call that the program can do without; return None if it is denied."""
        try:
            return self._caller.call(
                operation, parameters, self._endpoint, waits_for_permission=False
            )
        except AwsError as error:
            if error.is_denied:
                _LOGGER.info("cannot %s the repository, continuing without: %s", step, error)
                return None
            raise self._error(error, step) from error

    def _error(self, error: AwsError, step: str, *, is_new: bool = False) -> RegistryError:
        """Return the error to raise for a rejected call; a new repository lacks a policy then."""
        if error.code == _NO_REPOSITORY:
            return self.missing()
        message = (
            f"cannot {step} ECR repository {self._reference.repository} {self._where}: "
            f"{error.action} failed: {error.reason}"
        )
        if error.is_denied:
            return DeniedError(
                message,
                side=Side.DESTINATION,
                status=403,
                code=error.code,
                hint=(
                    f"Allow {error.action} on the repository{self._caller.identity.grantee}",
                    *((", delete it", *_CREATE_AGAIN) if is_new else (".",)),
                ),
            )
        hint = ("Delete the new repository", *_CREATE_AGAIN) if is_new else error.hint
        kind = ThrottledError if error.code in _THROTTLED else RegistryError
        return kind(message, side=Side.DESTINATION, code=error.code, hint=hint)

    def _not_removed(self, tag: str, failure: Mapping[str, Any]) -> RegistryError:
        code = sanitize(failure.get("failureCode"), 80)
        reason = sanitize(failure.get("failureReason"), 200)
        return RegistryError(
            f"cannot remove the tag {tag} from {self._reference.name}: {code}: {reason}",
            side=Side.DESTINATION,
            code=code,
        )


def _creation(settings: RepositorySettings) -> dict[str, Any]:
    """Return the parameters of CreateRepository."""
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
