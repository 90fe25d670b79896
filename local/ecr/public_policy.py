"""Differences between ECR Public's registry and the specification."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from local.ecr.callers import Caller
from local.ecr.errors import AccessDeniedError, repository_not_found
from local.registry import (
    Action,
    ErrorCode,
    Operation,
    RegistryError,
    SpecificationPolicy,
    Store,
)
from local.registry.digests import Digest
from local.throttles import TokenBucket
from local.web import Request

_PUSHES = {
    Action.START_UPLOAD: "ecr-public:InitiateLayerUpload",
    Action.GET_UPLOAD: "ecr-public:UploadLayerPart",
    Action.APPEND_UPLOAD: "ecr-public:UploadLayerPart",
    Action.FINISH_UPLOAD: "ecr-public:CompleteLayerUpload",
    Action.CANCEL_UPLOAD: "ecr-public:UploadLayerPart",
    Action.PUT_MANIFEST: "ecr-public:PutImage",
    Action.DELETE_BLOB: "ecr-public:BatchDeleteImage",
    Action.DELETE_MANIFEST: "ecr-public:BatchDeleteImage",
}


class PublicSettings(Protocol):
    """The settings of `EcrPublic` that its registry reads."""

    owners: dict[str, str]
    anonymous_pulls_per_second: float | None
    pulls_per_second: float | None

    def permit(self, caller: Caller, action: str, resource: str = "*") -> None:
        """Check that a caller may perform an IAM action; raise AccessDeniedError."""


class PublicPolicy(SpecificationPolicy):
    """Allows pushes to repositories below the caller's alias, and limits the rate of pulls."""

    def __init__(
        self,
        settings: PublicSettings,
        caller: Callable[[Request], Caller | None],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._caller = caller
        self._clock = clock
        self._pulls: dict[tuple[str, float], TokenBucket] = {}

    def before(self, operation: Operation, request: Request, store: Store) -> None:
        """Check permission, repository and rate."""
        if operation.action is Action.PING:
            return
        caller = self._caller(request)
        owner = self._settings.owners.get(operation.repository.partition("/")[0])
        if operation.action in _PUSHES and (caller is None or caller.account != owner):
            raise RegistryError(ErrorCode.DENIED, "Not Authorized")
        if caller is not None and operation.action in _PUSHES:
            self._check_permission(caller, operation)
        if operation.repository not in store.repositories:
            error = repository_not_found(operation.repository, owner or "")
            raise RegistryError(ErrorCode.NAME_UNKNOWN, error.message)
        if operation.action is Action.GET_MANIFEST and request.method == "GET":
            self._check_rate(caller)

    def may_mount(self, source: str, target: str, digest: Digest, store: Store) -> bool:  # noqa: ARG002 - signature of Policy
        """Return False."""
        return False

    def _check_permission(self, caller: Caller, operation: Operation) -> None:
        _, _, name = operation.repository.partition("/")
        resource = f"arn:aws:ecr-public::{caller.account}:repository/{name}"
        try:
            self._settings.permit(caller, _PUSHES[operation.action], resource)
        except AccessDeniedError as error:
            raise RegistryError(ErrorCode.DENIED, error.message) from error

    def _check_rate(self, caller: Caller | None) -> None:
        rate = (
            self._settings.anonymous_pulls_per_second
            if caller is None
            else self._settings.pulls_per_second
        )
        if rate is None:
            return
        source = caller.account if caller is not None else ""
        bucket = self._pulls.setdefault((source, rate), TokenBucket(rate, self._clock))
        if not bucket.take():
            raise RegistryError(ErrorCode.TOOMANYREQUESTS, "Rate exceeded")
