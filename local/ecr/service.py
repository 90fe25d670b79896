"""ECR in every account and region, found by host name."""

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
from local.permissions import IdentityPolicies
from local.registry.application import RegistryApplication
from local.registry.context import RegistryContext
from local.registry.redirects import SignedBlobStorage
from local.web import Application, Request, Response


class EcrService:
    """Registries by account and region, created when first used.

    `find_caller` returns the principal of an access key. `clock` returns seconds since 1970, for
    tokens, rates and times of pushes. `policies` are the identity policies of roles.
    """

    def __init__(
        self,
        find_caller: CallerLookup,
        *,
        clock: Callable[[], float] = time.time,
        policies: IdentityPolicies | None = None,
    ) -> None:
        self._policies = policies or IdentityPolicies()
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
                self._open(EcrRegistry(account, region, self._clock, self._policies))
            return self._registries[place]

    def clear_calls(self) -> None:
        """Clear the calls of all registries."""
        with self._lock:
            for registry in self._registries.values():
                registry.clear_calls()

    def close(self) -> None:
        """Delete the content of the registries."""
        with self._lock:
            for registry in self._registries.values():
                registry.close()

    def application(self, host: str) -> Application | None:
        """Return the application for a host, None if it is not ECR's."""
        if parse_api_host(host) is not None:
            return self._control_plane
        place = parse_registry_host(host)
        if place is not None:
            self.registry(*place)
            return self._applications[place]
        return self._serve_storage if parse_storage_host(host) is not None else None

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

    def _serve_storage(self, request: Request) -> Response:
        region = parse_storage_host(request.headers.get("host", "").partition(":")[0]) or ""
        account = request.path.split("/")[1]
        with self._lock:
            storage = self._storages.get((account, region))
        return storage.handle(request) if storage is not None else Response(404)
