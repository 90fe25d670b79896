"""Errors when both endpoints of a replication fail."""

from __future__ import annotations

import pytest
from local.registry import BearerAuthentication, RegistryServer
from tests.replicating import replicate_once

from ecr_image_replicator.errors import DeniedError, Side, UnavailableError

#: Nobody listens there.
NOWHERE = "127.0.0.1:9"
LONG_RETRIES = {"numAttempts": 10, "baseDelay": 100, "maxDelay": 100}
SHORT_RETRIES = {"numAttempts": 3, "baseDelay": 0, "maxDelay": 0}


def replicate(source: str, destination: str, retries: dict[str, int]) -> None:
    replicate_once(
        {"SrcImage": source, "DestImage": destination, "RetryConfigs": retries}, seconds=5000
    )


def locked_registry() -> RegistryServer:
    return RegistryServer(
        authentication=BearerAuthentication({"ann": "open-sesame"}, anonymous_pull=False)
    )


def test_an_error_of_the_source_ends_the_retries_at_the_destination() -> None:
    with locked_registry() as source, pytest.raises(DeniedError, match="source"):
        replicate(f"{source.host}/app:1", f"{NOWHERE}/copy:1", LONG_RETRIES)


def test_the_error_of_the_source_is_reported_even_if_the_destination_fails_first() -> None:
    with locked_registry() as destination, pytest.raises(UnavailableError) as caught:
        replicate(f"{NOWHERE}/app:1", f"{destination.host}/copy:1", SHORT_RETRIES)
    assert caught.value.side is Side.SOURCE


def test_two_denials_report_the_source() -> None:
    with (
        locked_registry() as source,
        locked_registry() as destination,
        pytest.raises(DeniedError) as caught,
    ):
        replicate(f"{source.host}/app:1", f"{destination.host}/copy:1", SHORT_RETRIES)
    assert caught.value.side is Side.SOURCE
