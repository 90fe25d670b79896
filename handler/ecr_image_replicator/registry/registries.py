"""The process's registries: connections and authorizations kept between invocations."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import Side
from ecr_image_replicator.registry.authenticator import Authenticator
from ecr_image_replicator.registry.client import RegistryClient
from ecr_image_replicator.registry.destination import RegistryDestination
from ecr_image_replicator.registry.http.hosts import Schemes
from ecr_image_replicator.registry.http.session import Session
from ecr_image_replicator.registry.mounts import MountSupports
from ecr_image_replicator.registry.source import RegistrySource
from ecr_image_replicator.registry.tags import RegistryTags
from ecr_image_replicator.retries import SharedPause

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.request.logins import Credentials
    from ecr_image_replicator.retries import Backoff


#: Repositories whose authorizations are kept; the least recently used are forgotten.
_MAX_AUTHENTICATORS: Final = 256


class Registries:
    """The connections, authorizations, pauses and known mount support of all registries.

    Parameters
    ----------
    plain_http
        Hosts that use plain HTTP.
    connections
        Kept per host at most.
    stall_timeout_seconds
        A connection without a byte for this long is broken.
    response_timeout_seconds
        How long the response to the last byte of a body may take.
    unverified
        Registries whose certificates are not verified, and that may be plain HTTP.
    """

    def __init__(
        self,
        *,
        plain_http: Iterable[str] = (),
        connections: int,
        stall_timeout_seconds: float = 30.0,
        response_timeout_seconds: float = 600.0,
        unverified: Iterable[str] = (),
    ) -> None:
        hosts = frozenset(unverified)
        self._session = Session(
            connections=connections,
            stall_timeout_seconds=stall_timeout_seconds,
            response_timeout_seconds=response_timeout_seconds,
            unverified=hosts,
        )
        self._schemes = Schemes(plain_http, unverified=hosts)
        self._lock = threading.Lock()
        self._pauses: dict[str, SharedPause] = {}
        self._authenticators: OrderedDict[tuple[object, ...], Authenticator] = OrderedDict()
        self._mounts = MountSupports()

    def open_source(
        self,
        reference: ImageReference,
        credentials: Credentials,
        *,
        backoff: Backoff,
        deadline: Deadline,
    ) -> RegistrySource:
        """Return an image in a registry as a source; sends nothing."""
        client = self.source_client(reference, credentials, backoff=backoff, deadline=deadline)
        return RegistrySource(reference, client, backoff)

    def source_client(
        self,
        reference: ImageReference,
        credentials: Credentials,
        *,
        backoff: Backoff,
        deadline: Deadline,
    ) -> RegistryClient:
        """Return a client that may pull from a repository; sends nothing."""
        scopes = (f"repository:{reference.repository}:pull",)
        return self._client(reference.registry, Side.SOURCE, scopes, credentials, backoff, deadline)

    def open_destination(
        self,
        reference: ImageReference,
        credentials: Credentials,
        *,
        backoff: Backoff,
        deadline: Deadline,
        mount_from: str | None = None,
        deletes: bool = False,
    ) -> RegistryDestination:
        """Return a repository as a destination; sends nothing.

        Parameters
        ----------
        mount_from, deletes
            As of `destination_client`.
        """
        client = self.destination_client(
            reference,
            credentials,
            backoff=backoff,
            deadline=deadline,
            mount_from=mount_from,
            deletes=deletes,
        )
        mounts = self._mounts.of(reference.registry)
        return RegistryDestination(reference, client, backoff, mounts=mounts)

    def destination_client(
        self,
        reference: ImageReference,
        credentials: Credentials,
        *,
        backoff: Backoff,
        deadline: Deadline,
        mount_from: str | None = None,
        deletes: bool = False,
    ) -> RegistryClient:
        """Return a client that may push to a repository; sends nothing.

        Parameters
        ----------
        mount_from
            Another repository that blobs are mounted from, which the token must cover.
        deletes
            Whether the token must cover deletion.
        """
        actions = "pull,push,delete" if deletes else "pull,push"
        scopes = [f"repository:{reference.repository}:{actions}"]
        if mount_from is not None and mount_from != reference.repository:
            scopes.append(f"repository:{mount_from}:pull")
        return self._client(
            reference.registry, Side.DESTINATION, tuple(scopes), credentials, backoff, deadline
        )

    def open_tags(
        self,
        reference: ImageReference,
        credentials: Credentials,
        side: Side,
        *,
        backoff: Backoff,
        deadline: Deadline,
    ) -> RegistryTags:
        """Open a repository to list and look up its tags; nothing is sent yet."""
        actions = "pull" if side is Side.SOURCE else "pull,push"  # as copying signs in
        scopes = (f"repository:{reference.repository}:{actions}",)
        client = self._client(reference.registry, side, scopes, credentials, backoff, deadline)
        return RegistryTags(reference, client)

    def close_unkept(self) -> None:
        """Close the idle connections to hosts that registries only redirected to."""
        self._session.close_unkept()

    def close(self) -> None:
        """Close all kept connections."""
        self._session.close()

    def _client(
        self,
        registry: str,
        side: Side,
        scopes: tuple[str, ...],
        credentials: Credentials,
        backoff: Backoff,
        deadline: Deadline,
    ) -> RegistryClient:
        with self._lock:
            pause = self._pauses.setdefault(registry, SharedPause())
            # an authorization is reused with equal credentials only
            key = (registry, side, scopes, credentials)
            authenticator = self._authenticators.get(key)
            if authenticator is None:
                authenticator = Authenticator(registry, scopes, credentials, side)
                self._authenticators[key] = authenticator
            self._authenticators.move_to_end(key)
            if len(self._authenticators) > _MAX_AUTHENTICATORS:
                self._authenticators.popitem(last=False)
            authenticator.use_credentials(credentials)
        return RegistryClient(
            registry,
            side,
            session=self._session,
            authenticator=authenticator,
            schemes=self._schemes,
            backoff=backoff,
            deadline=deadline,
            pause=pause,
        )
