"""One account's registry in one region: its repositories, and who may do what with them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from local.ecr.callers import Caller, policy_allows
from local.ecr.errors import AccessDeniedError, EcrError, repository_not_found
from local.ecr.hosts import arn_partition, registry_host
from local.ecr.quirks import Manners
from local.ecr.repositories import Repository, parse_repository
from local.images import Content, place
from local.registry import Manifest, Store
from local.registry.digests import Digest
from local.throttles import TokenBucket


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One call of the API; `error` is the code of its refusal, None when it went well."""

    operation: str
    parameters: Mapping[str, Any]
    caller: Caller
    error: str | None


class EcrRegistry:
    """A registry that `….dkr.ecr.REGION.amazonaws.com` and `api.ecr.REGION.amazonaws.com` serve.

    `quirks` and `account_settings` may be changed between requests; `store` is for looking and for
    putting what no client would push. `clock` gives seconds since 1970. Safe for threads.
    """

    def __init__(self, account: str, region: str, clock: Callable[[], float]) -> None:
        self.account = account
        self.region = region
        self.host = registry_host(account, region)
        self.store = Store()
        self.quirks = Manners()
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
        """Remove what the registry keeps on disk."""
        self.store.close()

    # Repositories

    @property
    def repositories(self) -> tuple[Repository, ...]:
        """All repositories, sorted by name."""
        with self._lock:
            return tuple(self._repositories[name] for name in sorted(self._repositories))

    def create_repository(self, name: str, **parameters: Any) -> Repository:
        """Make a repository with CreateRepository's parameters, `imageTagMutability="IMMUTABLE"`.

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
        """Return a repository, which is made with the usual settings if missing."""
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
        """Replace some of a repository's settings, named as in `Repository`; see `repository`."""
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
        """Put an image or index into a repository, which is made if missing; no request is sent."""
        self.open_repository(repository)
        return place(content, self.store, repository, tag)

    def note_push(self, repository: str, digest: str) -> None:
        """Remember when a manifest was pushed."""
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

    def take_put_image(self) -> bool:
        """Return whether one more manifest may be put now."""
        rate = self.quirks.put_images_per_second
        if rate is None:
            return True
        with self._lock:
            if self._put_images is None or self._put_images[0] != rate:
                self._put_images = rate, TokenBucket(rate, self._clock)
            return self._put_images[1].take()

    # Who may do what

    def permit(self, caller: Caller, action: str, repository: str | None = None) -> None:
        """Let a caller perform an IAM action; `repository` is None for those on everything.

        Raises
        ------
        AccessDeniedError
            The action is denied, or the caller is of another account and not let in.
        """
        with self._lock:
            self._actions.add(action)
            resource = "*" if repository is None else self.arn(repository)
            if action in self.quirks.denied_actions:
                raise AccessDeniedError(caller.arn, action, resource, "identity-based")
            if caller.account == self.account:
                return
            known = None if repository is None else self._repositories.get(repository)
            if known is None or not policy_allows(known.policy, caller, action):
                raise AccessDeniedError(caller.arn, action, resource, "resource-based")

    def take_throttling(self, action: str) -> bool:
        """Return whether an API call of an action is to be throttled, and count it."""
        with self._lock:
            left = self.quirks.throttled_actions.get(action, 0)
            if left:
                self.quirks.throttled_actions[action] = left - 1
            return left > 0

    # What happened

    @property
    def calls(self) -> tuple[ApiCall, ...]:
        """The calls of the API that concerned this registry, in the order of their answers."""
        with self._lock:
            return tuple(self._calls)

    @property
    def operations(self) -> list[str]:
        """The names of those calls."""
        return [call.operation for call in self.calls]

    @property
    def used_actions(self) -> frozenset[str]:
        """The IAM actions that callers needed, on both planes, whether they had them or not."""
        with self._lock:
            return frozenset(self._actions)

    def record(self, call: ApiCall) -> None:
        """Append a call of the API."""
        with self._lock:
            self._calls.append(call)

    def clear_calls(self) -> None:
        """Forget the calls and actions so far."""
        with self._lock:
            self._calls.clear()
            self._actions.clear()


def descriptors_of(manifest: Manifest) -> list[Mapping[str, Any]]:
    """Return the descriptors of the config and layers that a manifest names."""
    document = manifest.document
    descriptors = [document.get("config"), *(document.get("layers") or [])]
    return [each for each in descriptors if isinstance(each, dict)]
