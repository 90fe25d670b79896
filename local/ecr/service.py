"""All of ECR: every account's registries in every region, behind the hosts' names."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from local.ecr.authentication import EcrAuthentication
from local.ecr.callers import CallerLookup
from local.ecr.control_plane import ControlPlane
from local.ecr.hosts import parse_api_host, parse_registry_host, parse_storage_host, storage_host
from local.ecr.policy import EcrPolicy
from local.ecr.registry import EcrRegistry
from local.ecr.tokens import AuthorizationTokens
from local.registry.application import RegistryApplication
from local.registry.context import RegistryContext
from local.registry.redirects import SignedBlobStorage
from local.web import Application, Request, Response


class EcrService:
    """Registries by account and region; each comes into being when it is first asked for.

    `find_caller` tells whose an access key is. `clock` gives seconds since 1970, for tokens, rates
    and times of pushes.
    """

    def __init__(
        self, find_caller: CallerLookup, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.tokens = AuthorizationTokens(clock)
        self._clock = clock
        self._control_plane = ControlPlane(self.tokens, find_caller, self.registry)
        self._registries: dict[tuple[str, str], EcrRegistry] = {}
        self._applications: dict[tuple[str, str], RegistryApplication] = {}
        self._storages: dict[tuple[str, str], SignedBlobStorage] = {}
        self._lock = threading.Lock()

    def registry(self, account: str, region: str) -> EcrRegistry:
        """Return an account's registry in a region."""
        place = account, region
        with self._lock:
            if place not in self._registries:
                self._open(EcrRegistry(account, region, self._clock))
            return self._registries[place]

    def clear_calls(self) -> None:
        """Forget the calls that any registry has had."""
        with self._lock:
            for registry in self._registries.values():
                registry.clear_calls()

    def close(self) -> None:
        """Remove what the registries keep on disk."""
        with self._lock:
            for registry in self._registries.values():
                registry.close()

    def application(self, host: str) -> Application | None:
        """Return what answers at a host, None when that is not ECR's."""
        if parse_api_host(host) is not None:
            return self._control_plane
        place = parse_registry_host(host)
        if place is not None:
            self.registry(*place)
            return self._applications[place]
        return self._answer_storage if parse_storage_host(host) is not None else None

    def _open(self, registry: EcrRegistry) -> None:
        place = registry.account, registry.region
        storage = SignedBlobStorage(
            registry.store, prefix=f"/{registry.account}/", clock=self._clock
        )
        authentication = EcrAuthentication(self.tokens, registry.region, registry.quirks)
        context = RegistryContext(
            store=registry.store,
            policy=EcrPolicy(registry, authentication),
            absolute_locations=True,
            blob_storage=storage,
            storage_origin=f"https://{storage_host(registry.region)}",
        )
        self._registries[place] = registry
        self._storages[place] = storage
        self._applications[place] = RegistryApplication(context, authentication)

    def _answer_storage(self, request: Request) -> Response:
        region = parse_storage_host(request.headers.get("host", "").partition(":")[0]) or ""
        account = request.path.split("/")[1]
        with self._lock:
            storage = self._storages.get((account, region))
        return storage.handle(request) if storage is not None else Response(404)
