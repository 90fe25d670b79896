"""What a stack hears when one end fails for good and the other is being tried again."""

from __future__ import annotations

import pytest
from local.registry import BearerAuthentication, RegistryServer
from tests.replicating import replicate_once

from ecr_image_replicator.errors import DeniedError

#: Nobody listens there.
NOWHERE = "127.0.0.1:9"


def replicate(source: str, destination: str) -> None:
    replicate_once(
        {
            "SrcImage": source,
            "DestImage": destination,
            "RetryConfigs": {"numAttempts": 10, "baseDelay": 100, "maxDelay": 100},
        },
        seconds=5000,
    )


def test_a_source_that_refuses_ends_the_attempts_at_the_destination() -> None:
    locked = BearerAuthentication({"ann": "open-sesame"}, anonymous_pull=False)
    with (
        RegistryServer(authentication=locked) as source,
        pytest.raises(DeniedError, match="source"),
    ):
        replicate(f"{source.host}/app:1", f"{NOWHERE}/copy:1")


def test_a_destination_that_refuses_ends_the_attempts_at_the_source() -> None:
    locked = BearerAuthentication({"ann": "open-sesame"}, anonymous_pull=False)
    with (
        RegistryServer(authentication=locked) as destination,
        pytest.raises(DeniedError, match="destination"),
    ):
        replicate(f"{NOWHERE}/app:1", f"{destination.host}/copy:1")
