"""Errors when both endpoints of a replication fail."""

from __future__ import annotations

import pytest
from local.registry import BearerAuthentication, RegistryServer
from tests.replicating import replicate_once

from ecr_image_replicator.errors import DeniedError, Side, UnavailableError

#: A port without a listener.
CLOSED_PORT = "127.0.0.1:9"
LONG_RETRIES = {"numAttempts": 10, "baseDelay": 100, "maxDelay": 100}
SHORT_RETRIES = {"numAttempts": 3, "baseDelay": 0, "maxDelay": 0}


def replicate(source: str, destination: str, retries: dict[str, int]) -> None:
    replicate_once(
        {"SrcImage": source, "DestImage": destination, "RetryConfigs": retries}, seconds=5000
    )


def private_registry() -> RegistryServer:
    return RegistryServer(
        authentication=BearerAuthentication({"ann": "open-sesame"}, anonymous_pull=False)
    )


def test_a_source_error_stops_retries_at_the_destination() -> None:
    with private_registry() as source, pytest.raises(DeniedError, match="source"):
        replicate(f"{source.host}/app:1", f"{CLOSED_PORT}/copy:1", LONG_RETRIES)


def test_the_source_error_is_reported_even_if_the_destination_fails_first() -> None:
    with private_registry() as destination, pytest.raises(UnavailableError) as caught:
        replicate(f"{CLOSED_PORT}/app:1", f"{destination.host}/copy:1", SHORT_RETRIES)
    assert caught.value.side is Side.SOURCE


def test_the_source_error_is_reported_if_both_endpoints_deny_access() -> None:
    with (
        private_registry() as source,
        private_registry() as destination,
        pytest.raises(DeniedError) as caught,
    ):
        replicate(f"{source.host}/app:1", f"{destination.host}/copy:1", SHORT_RETRIES)
    assert caught.value.side is Side.SOURCE
