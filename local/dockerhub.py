"""Docker Hub on loopback: registry-1.docker.io, auth.docker.io, blob storage, pull limit.

Docker's documentation, "Docker Hub pull usage and limits": the GET of a manifest is a pull; its
HEAD and the GETs of layers are not pulls.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from local.images import Content, place
from local.registry import (
    Access,
    Action,
    BearerAuthentication,
    ErrorCode,
    Operation,
    RegistryError,
    SpecificationPolicy,
    Store,
    TokenService,
)
from local.registry.application import RegistryApplication
from local.registry.context import RegistryContext
from local.registry.digests import Digest
from local.registry.redirects import SignedBlobStorage
from local.web import Application, Request, Response

REGISTRY_HOST = "registry-1.docker.io"
TOKEN_HOST = "auth.docker.io"  # noqa: S105 - a host
STORAGE_HOST = "production.cloudflare.docker.com"
_ANONYMOUS_SOURCE = "192.0.2.1"
_WINDOW_SECONDS = 6 * 3600
_LIMIT_REACHED = (
    "You have reached your pull rate limit. You may increase the limit by authenticating and "
    "upgrading: https://www.docker.com/increase-rate-limit"
)


@dataclass(frozen=True, slots=True)
class HubUser:
    """An account; `pull_limit` per six hours, None for a paid account."""

    password: str
    pull_limit: int | None = 200


class DockerHub:
    """Docker Hub's hosts as applications.

    `pull_limit` is the limit of anonymous users per six hours, `private_repositories` are those
    that only accounts can pull. Both can be changed. `users` are the accounts by name. `clock`
    returns seconds.
    """

    def __init__(
        self, users: Mapping[str, HubUser] | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.pull_limit: int | None = 100
        self.private_repositories: set[str] = set()
        self._users = dict(users or {})
        self.store = Store()
        self._tokens = BearerAuthentication(
            {name: user.password for name, user in self._users.items()},
            permissions={},
            token_service=TokenService(
                service="registry.docker.io", realm=f"https://{TOKEN_HOST}/token"
            ),
            clock=clock,
        )
        policy = _HubPolicy(self, self._tokens, clock)
        self._storage = SignedBlobStorage(self.store, prefix="/registry-v2/", clock=clock)
        context = RegistryContext(
            store=self.store,
            policy=policy,
            blob_storage=self._storage,
            storage_origin=f"https://{STORAGE_HOST}",
        )
        self._registry = RegistryApplication(context, _TokenAuthentication(self._tokens))

    def close(self) -> None:
        """Delete the content."""
        self.store.close()

    def put(self, content: Content, repository: str, tag: str | None = None) -> Digest:
        """Store an image or index in a repository, such as `library/nginx`, without a request."""
        return place(content, self.store, repository, tag)

    def expire_tokens(self) -> None:
        """Revoke every token issued so far."""
        self._tokens.revoke_all()

    def application(self, host: str) -> Application | None:
        """Return the application for a host, None if it is not Docker Hub's."""
        if host == REGISTRY_HOST:
            return self._registry
        if host == TOKEN_HOST:
            return self._serve_tokens
        return self._storage.handle if host == STORAGE_HOST else None

    def limit_of(self, user: str | None) -> int | None:
        """Return the pull limit of a user, or of anonymous users, per six hours."""
        return self.pull_limit if user is None else self._users[user].pull_limit

    def _serve_tokens(self, request: Request) -> Response:
        return self._tokens.serve(request) or Response(404)


class _TokenAuthentication:
    """Validates tokens like the registry's host, which does not issue them."""

    def __init__(self, tokens: BearerAuthentication) -> None:
        self._tokens = tokens

    def authorize(self, request: Request, accesses: tuple[Access, ...]) -> None:
        self._tokens.authorize(request, accesses)

    def serve(self, request: Request) -> Response | None:  # noqa: ARG002 - signature of Authentication
        return None


class _HubPolicy(SpecificationPolicy):
    """Counts pulls by source, and challenges for missing and private repositories alike."""

    def __init__(
        self, hub: DockerHub, tokens: BearerAuthentication, clock: Callable[[], float]
    ) -> None:
        self._hub = hub
        self._tokens = tokens
        self._clock = clock
        self._pulls: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def before(self, operation: Operation, request: Request, store: Store) -> None:
        user = self._tokens.user(request)
        unseen = user is None and operation.repository in self._hub.private_repositories
        unknown = operation.repository and operation.repository not in store.repositories
        if unseen or unknown:
            accesses = (Access(operation.repository, "pull"),)
            raise self._tokens.challenge(request, accesses, "authentication required")
        if operation.action is not Action.GET_MANIFEST or request.method == "HEAD":
            return
        limit = self._hub.limit_of(user)
        if limit is not None and not self._count_pull(self._source(request), limit):
            raise RegistryError(ErrorCode.TOOMANYREQUESTS, _LIMIT_REACHED)

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        limit = self._hub.limit_of(self._tokens.user(request))
        if operation.action is not Action.GET_MANIFEST or limit is None or response.status == 401:
            return response
        source = self._source(request)
        with self._lock:
            left = limit - len(self._recent(source))
        headers = {
            "ratelimit-limit": f"{limit};w={_WINDOW_SECONDS}",
            "ratelimit-remaining": f"{max(0, left)};w={_WINDOW_SECONDS}",
            "docker-ratelimit-source": source,
        }
        return replace(response, headers={**response.headers, **headers})

    def _source(self, request: Request) -> str:
        return self._tokens.user(request) or _ANONYMOUS_SOURCE

    def _count_pull(self, source: str, limit: int) -> bool:
        with self._lock:
            recent = self._recent(source)
            if len(recent) >= limit:
                return False
            recent.append(self._clock())
            return True

    def _recent(self, source: str) -> list[float]:
        since = self._clock() - _WINDOW_SECONDS
        recent = [each for each in self._pulls.get(source, []) if each > since]
        self._pulls[source] = recent
        return recent
