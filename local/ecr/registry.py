"""One account's registry in one region: repositories, images and permissions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from local.ecr.callers import Caller, policy_allows
from local.ecr.errors import AccessDeniedError, EcrError, repository_not_found
from local.ecr.hosts import arn_partition, registry_host
from local.ecr.quirks import EcrQuirks
from local.ecr.repositories import Repository, parse_repository
from local.images import Content, place
from local.permissions import Decision, IdentityPolicies, Permission
from local.registry import Manifest, Store
from local.registry.digests import Digest
from local.throttles import TokenBucket


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One call of the API; `error` is its error code, None for success."""

    operation: str
    parameters: Mapping[str, Any]
    caller: Caller
    error: str | None


class EcrRegistry:
    """A registry that `….dkr.ecr.REGION.amazonaws.com` and `api.ecr.REGION.amazonaws.com` serve.

    `quirks` and `account_settings` may be changed between requests. `store` has the content.
    `clock` returns seconds since 1970. `policies` are the identity policies of roles. Safe for
    threads.
    """

    def __init__(
        self,
        account: str,
        region: str,
        clock: Callable[[], float],
        policies: IdentityPolicies | None = None,
    ) -> None:
        self.policies = policies or IdentityPolicies()
        self.account = account
        self.region = region
        self.host = registry_host(account, region)
        self.store = Store()
        self.quirks = EcrQuirks()
        self.account_settings = {
            "BASIC_SCAN_TYPE_VERSION": "AWS_NATIVE",
            "BLOB_MOUNTING": "DISABLED",
            "REGISTRY_POLICY_SCOPE": "V2",
        }
        self._clock = clock
        self._repositories: dict[str, Repository] = {}
        self._pushed_at: dict[tuple[str, str], float] = {}
        self._calls: list[ApiCall] = []
        self._actions: set[str] = set()
        self._put_images: tuple[float, TokenBucket] | None = None
        self._lock = threading.RLock()

    def close(self) -> None:
        """Delete the content of the registry."""
        self.store.close()

    # Repositories

    @property
    def repositories(self) -> tuple[Repository, ...]:
        """All repositories, sorted by name."""
        with self._lock:
            return tuple(self._repositories[name] for name in sorted(self._repositories))

    def create_repository(self, name: str, **parameters: Any) -> Repository:
        """Create a repository with CreateRepository's parameters, `imageTagMutability="IMMUTABLE"`.

        Raises
        ------
        EcrError
            RepositoryAlreadyExistsException, and what `parse_repository` raises.
        """
        wanted = {**parameters, "repositoryName": name}
        repository = parse_repository(wanted, account=self.account, now=self._clock())
        with self._lock:
            if name in self._repositories:
                raise EcrError(
                    "RepositoryAlreadyExistsException",
                    f"The repository with name '{name}' already exists in the registry with id "
                    f"'{self.account}'",
                )
            self._repositories[name] = repository
            self.store.create_repository(name)
        return repository

    def open_repository(self, name: str) -> Repository:
        """Return a repository. Create it with the default settings if it does not exist."""
        with self._lock:
            return self._repositories.get(name) or self.create_repository(name)

    def find_repository(self, name: str) -> Repository | None:
        """Return a repository, or None."""
        with self._lock:
            return self._repositories.get(name)

    def repository(self, name: str) -> Repository:
        """Return a repository.

        Raises
        ------
        EcrError
            RepositoryNotFoundException.
        """
        found = self.find_repository(name)
        if found is None:
            raise repository_not_found(name, self.account)
        return found

    def change_repository(self, name: str, **changes: Any) -> Repository:
        """Change settings of a repository, named as in `Repository`. Raises like `repository`."""
        with self._lock:
            changed = replace(self.repository(name), **changes)
            self._repositories[name] = changed
        return changed

    def arn(self, repository: str) -> str:
        """Return a repository's ARN."""
        partition = arn_partition(self.region)
        return f"arn:{partition}:ecr:{self.region}:{self.account}:repository/{repository}"

    # Images

    def put(self, content: Content, repository: str, tag: str | None = None) -> Digest:
        """Store an image or index without a request. Create the repository if it does not exist."""
        self.open_repository(repository)
        return place(content, self.store, repository, tag)

    def note_push(self, repository: str, digest: str) -> None:
        """Record the time of a push, which also restores an archived image."""
        self.quirks.archived.discard(digest)
        with self._lock:
            self._pushed_at[repository, digest] = self._clock()

    def pushed_at(self, repository: str, digest: str) -> float:
        """Return when a manifest was pushed, in seconds since 1970."""
        with self._lock:
            return self._pushed_at.get((repository, digest), self.repository(repository).created_at)

    def refers_to(self, repository: str, digest: str) -> bool:
        """Return whether a manifest of a repository refers to a blob."""
        return any(
            each.get("digest") == digest
            for manifest in self.store.manifests(repository)
            for each in descriptors_of(manifest)
        )

    def allows_put_image(self) -> bool:
        """Return whether the rate limit allows one more PutImage."""
        rate = self.quirks.put_images_per_second
        if rate is None:
            return True
        with self._lock:
            if self._put_images is None or self._put_images[0] != rate:
                self._put_images = rate, TokenBucket(rate, self._clock)
            return self._put_images[1].take()

    # Permissions

    def permit(
        self,
        caller: Caller,
        action: str,
        repository: str | None = None,
        *,
        resource: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> None:
        """Check that a caller may perform an IAM action.

        `repository` is None for actions on `*`; `resource` replaces its ARN. IAM User Guide: in
        its own account a caller needs an Allow in its policies or the repository's, in another
        account in both.

        Raises
        ------
        AccessDeniedError
            The caller lacks the permission.
        """
        with self._lock:
            self._actions.add(action)
            arn = resource or ("*" if repository is None else self.arn(repository))
            denied = self.quirks.denials.take(action)
            if denied is not None:
                raise AccessDeniedError(
                    caller.arn, action, arn, is_explicit=denied is Decision.DENIED
                )
            decision = self.policies.decide(caller.arn, Permission(action, arn, context or {}))
            if decision is Decision.DENIED:
                raise AccessDeniedError(caller.arn, action, arn, is_explicit=True)
            known = None if repository is None else self._repositories.get(repository)
            is_shared = known is not None and policy_allows(known.policy, caller, action)
            if caller.account == self.account:
                if decision is Decision.NOT_ALLOWED and not is_shared:
                    raise AccessDeniedError(caller.arn, action, arn)
            elif not is_shared or decision is Decision.NOT_ALLOWED:
                kind = "identity-based" if is_shared else "resource-based"
                raise AccessDeniedError(caller.arn, action, arn, kind=kind)

    def take_throttling(self, action: str) -> bool:
        """Return whether an API call of an action is throttled, and count it."""
        with self._lock:
            left = self.quirks.throttled_actions.get(action, 0)
            if left:
                self.quirks.throttled_actions[action] = left - 1
            return left > 0

    # Calls

    @property
    def calls(self) -> tuple[ApiCall, ...]:
        """The API calls for this registry, in the order of their responses."""
        with self._lock:
            return tuple(self._calls)

    @property
    def operations(self) -> list[str]:
        """The names of those calls."""
        return [call.operation for call in self.calls]

    @property
    def used_actions(self) -> frozenset[str]:
        """All IAM actions that calls and requests required, including denied ones."""
        with self._lock:
            return frozenset(self._actions)

    def record(self, call: ApiCall) -> None:
        """Append a call of the API."""
        with self._lock:
            self._calls.append(call)

    def clear_calls(self) -> None:
        """Clear the lists of calls and actions."""
        with self._lock:
            self._calls.clear()
            self._actions.clear()


def descriptors_of(manifest: Manifest) -> list[Mapping[str, Any]]:
    """Return the descriptors of a manifest's config and layers."""
    document = manifest.document
    descriptors = [document.get("config"), *(document.get("layers") or [])]
    return [each for each in descriptors if isinstance(each, dict)]
