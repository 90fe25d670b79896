"""What ECR Public's registry asks beyond the specification."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from local.ecr.callers import Caller
from local.ecr.errors import repository_not_found
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

_PUSHES = frozenset(
    {
        Action.START_UPLOAD,
        Action.GET_UPLOAD,
        Action.APPEND_UPLOAD,
        Action.FINISH_UPLOAD,
        Action.CANCEL_UPLOAD,
        Action.PUT_MANIFEST,
        Action.DELETE_BLOB,
        Action.DELETE_MANIFEST,
    }
)


class PublicSettings(Protocol):
    """The switches of `EcrPublic` that its registry reads."""

    owners: dict[str, str]
    anonymous_pulls_per_second: float | None
    pulls_per_second: float | None


class PublicPolicy(SpecificationPolicy):
    """Pushes below one's own alias, into repositories that exist; pulls at a limited rate."""

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
        """Refuse what is not the caller's to push, what does not exist, and pulls too fast."""
        if operation.action is Action.PING:
            return
        caller = self._caller(request)
        owner = self._settings.owners.get(operation.repository.partition("/")[0])
        if operation.action in _PUSHES and (caller is None or caller.account != owner):
            raise RegistryError(ErrorCode.DENIED, "Not Authorized")
        if operation.repository not in store.repositories:
            words = repository_not_found(operation.repository, owner or "")
            raise RegistryError(ErrorCode.NAME_UNKNOWN, words.message)
        if operation.action is Action.GET_MANIFEST and request.method == "GET":
            self._check_rate(caller)

    def may_mount(self, source: str, target: str, digest: Digest, store: Store) -> bool:  # noqa: ARG002 - nothing is mounted
        """Mount nothing."""
        return False

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
