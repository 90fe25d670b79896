"""What the process keeps of registries between invocations, and opening them as either side."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from replicator.errors import Side
from replicator.registry.auth import Authenticator
from replicator.registry.client import RegistryClient
from replicator.registry.destination import PushManners, RegistryDestination
from replicator.registry.hosts import Schemes
from replicator.registry.session import Session
from replicator.registry.source import RegistrySource
from replicator.retries import SharedPause

if TYPE_CHECKING:
    from collections.abc import Iterable

    from replicator.deadline import Deadline
    from replicator.ports import Credentials
    from replicator.references import ImageReference
    from replicator.retries import Backoff


class Registries:
    """Connections, sign-ins and pauses of every registry that the process has spoken to.

    Parameters
    ----------
    plain_http
        Hosts that are spoken to in plain HTTP.
    connections
        Kept per host at most.
    stall_timeout_seconds
        A connection without a byte for so long counts as broken.
    """

    def __init__(
        self,
        *,
        plain_http: Iterable[str] = (),
        connections: int,
        stall_timeout_seconds: float = 30.0,
    ) -> None:
        self._session = Session(
            connections=connections, stall_timeout_seconds=stall_timeout_seconds
        )
        self._schemes = Schemes(plain_http)
        self._lock = threading.Lock()
        self._pauses: dict[str, SharedPause] = {}
        self._authenticators: dict[tuple[object, ...], Authenticator] = {}

    def open_source(
        self,
        reference: ImageReference,
        credentials: Credentials,
        *,
        backoff: Backoff,
        deadline: Deadline,
    ) -> RegistrySource:
        """Make a source of an image in a registry; nothing is sent yet."""
        scopes = (f"repository:{reference.repository}:pull",)
        client = self._client(
            reference.registry, Side.SOURCE, scopes, credentials, backoff, deadline
        )
        return RegistrySource(reference, client, backoff)

    def open_destination(
        self,
        reference: ImageReference,
        credentials: Credentials,
        *,
        backoff: Backoff,
        deadline: Deadline,
        mount_from: str | None = None,
        manners: PushManners = PushManners(),  # noqa: B008 - it is frozen
        deletes: bool = False,
    ) -> RegistryDestination:
        """Make a destination of a repository; nothing is sent yet.

        Parameters
        ----------
        mount_from
            Another repository that blobs will be mounted from, which the sign-in must cover.
        manners
            Of the registry's kind.
        deletes
            Whether the sign-in must cover deletion.
        """
        actions = "pull,push,delete" if deletes else "pull,push"
        scopes = [f"repository:{reference.repository}:{actions}"]
        if mount_from is not None and mount_from != reference.repository:
            scopes.append(f"repository:{mount_from}:pull")
        client = self._client(
            reference.registry, Side.DESTINATION, tuple(scopes), credentials, backoff, deadline
        )
        return RegistryDestination(reference, client, backoff, manners)

    def close(self) -> None:
        """Drop every kept connection."""
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
            # a sign-in is kept for those only who bring the same credentials
            key = (registry, side, scopes, credentials)
            authenticator = self._authenticators.get(key)
            if authenticator is None:
                authenticator = Authenticator(registry, scopes, credentials, side)
                self._authenticators[key] = authenticator
            authenticator.visit_with(credentials)
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
