"""Both ends of a replication, opened as a request names them: the wiring of registries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from replicator.caching import CachingSource, ContentCache
from replicator.credentials import NoCredentials, parse_inline_credentials
from replicator.registry.registries import Registries

if TYPE_CHECKING:
    from replicator.deadline import Deadline
    from replicator.ports import Credentials, ImageDestination
    from replicator.request import ReplicationRequest
    from replicator.retries import Backoff
    from replicator.settings import Settings


@dataclass(frozen=True, slots=True)
class Sides:
    """A source and a destination.

    Attributes
    ----------
    mount_from
        The source's repository, when both sides are in one registry; None otherwise.
    """

    source: CachingSource
    destination: ImageDestination
    mount_from: str | None


class SideOpener:
    """Opens sides; keeps what the process has of registries and content for the next request.

    Parameters
    ----------
    settings
        The function's configuration.
    """

    def __init__(self, settings: Settings) -> None:
        self._cache = ContentCache()
        self._registries = Registries(
            plain_http=settings.plain_http,
            connections=settings.streams + 2,
            stall_timeout_seconds=settings.stall_timeout_seconds,
        )

    def open(self, request: ReplicationRequest, backoff: Backoff, deadline: Deadline) -> Sides:
        """Open both sides; nothing is sent yet.

        Raises
        ------
        RequestError
            Credentials are malformed.
        """
        same_registry = request.source.registry == request.destination.registry
        mount_from = request.source.repository if same_registry else None
        source = self._registries.open_source(
            request.source,
            _credentials(request.source_credentials, "SrcCreds"),
            backoff=backoff,
            deadline=deadline,
        )
        destination = self._registries.open_destination(
            request.destination,
            _credentials(request.destination_credentials, "DestCreds"),
            backoff=backoff,
            deadline=deadline,
            mount_from=mount_from,
        )
        return Sides(CachingSource(source, self._cache), destination, mount_from)

    def close(self) -> None:
        """Drop every kept connection."""
        self._registries.close()


def _credentials(text: str | None, name: str) -> Credentials:
    return parse_inline_credentials(text, name) if text else NoCredentials()
