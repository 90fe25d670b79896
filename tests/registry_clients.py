"""Clients of registries on loopback addresses."""

from __future__ import annotations

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import Side
from ecr_image_replicator.registry.authenticator import Authenticator
from ecr_image_replicator.registry.client import RegistryClient
from ecr_image_replicator.registry.http.hosts import Schemes
from ecr_image_replicator.registry.http.session import Session
from ecr_image_replicator.request.credentials import NoCredentials
from ecr_image_replicator.retries import Backoff, RetryPolicy, SharedPause


def new_destination_client(host: str, session: Session, pause: SharedPause) -> RegistryClient:
    """Return an anonymous client of a destination that retries without delay."""
    deadline = Deadline(60)
    return RegistryClient(
        host,
        Side.DESTINATION,
        session=session,
        authenticator=Authenticator(host, (), NoCredentials(), Side.DESTINATION),
        schemes=Schemes(("127.0.0.1",)),
        backoff=Backoff(RetryPolicy(base_delay_seconds=0), deadline),
        deadline=deadline,
        pause=pause,
    )
