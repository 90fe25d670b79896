"""Upload sessions that a destination loses, and connections that it resets."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from local.images import build_image, build_layer, push
from local.registry import (
    Action,
    DroppedConnectionError,
    ErrorCode,
    Operation,
    RegistryError,
    RegistryServer,
    SpecificationPolicy,
    Store,
)
from local.registry.digests import digest_of
from local.web import Request
from tests.functional.conftest import Function

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings

Start = Callable[..., RegistryServer]


class _FailingUploadsPolicy(SpecificationPolicy):
    """A registry that fails the closing PUT of the next uploads."""

    def __init__(self, error: Exception, count: int) -> None:
        self._error = error
        self._left = count
        self._lock = threading.Lock()

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - overrides
        if operation.action is not Action.FINISH_UPLOAD:
            return
        with self._lock:
            self._left -= 1
            fails = self._left >= 0
        if fails:
            raise self._error


@pytest.mark.parametrize(
    "error",
    [RegistryError(ErrorCode.BLOB_UPLOAD_UNKNOWN, "blob upload unknown"), DroppedConnectionError()],
    ids=["upload-unknown", "connection-reset"],
)
def test_a_blob_is_retried_after_several_lost_uploads(
    function: Function, registries: Start, error: Exception
) -> None:
    source, destination = registries(), registries(policy=_FailingUploadsPolicy(error, 3))
    image = build_image([build_layer(50_000, seed=1)])
    push(image, source.host, "app", "1")

    response = function.create(
        f"{source.host}/app:1", f"{destination.host}/app:1", RetryConfigs={"baseDelay": 0}
    )

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert destination.store.tags("app") == {"1": image.digest}


def test_the_error_for_bytes_that_the_destination_received_otherwise_is_a_digest_mismatch(
    function: Function, registries: Start
) -> None:
    error = RegistryError(ErrorCode.DIGEST_INVALID, "provided digest did not match")
    source, destination = registries(), registries(policy=_FailingUploadsPolicy(error, 100))
    image = build_image([])
    push(image, source.host, "app", "1")

    response = function.create(
        f"{source.host}/app:1",
        f"{destination.host}/app:1",
        RetryConfigs={"numAttempts": 2, "baseDelay": 0},
    )

    assert response["Reason"].startswith(
        f"cannot push blob {digest_of(image.config)} to {destination.host}/app: digest mismatch, "
        "the registry received other bytes than were sent (400 Bad Request, DIGEST_INVALID: "
        "provided digest did not match) after 2 attempts. "
    ), response["Reason"]


@pytest.mark.parametrize(
    ("error", "throttles"),
    [
        (RegistryError(ErrorCode.BLOB_UPLOAD_UNKNOWN, "blob upload unknown"), 0),
        (DroppedConnectionError(), 1),
    ],
    ids=["upload-unknown", "connection-reset"],
)
def test_a_connection_reset_during_an_upload_counts_as_a_throttle(
    registries: Start, error: Exception, throttles: int
) -> None:
    source, destination = registries(), registries(policy=_FailingUploadsPolicy(error, 1))
    push(build_image([build_layer(50_000, seed=1)]), source.host, "app", "1")
    replicator, progress = Replicator(Settings()), LoggedProgress()
    request = parse_request(
        {
            "SrcImage": f"{source.host}/app:1",
            "DestImage": f"{destination.host}/app:1",
            "RetryConfigs": {"baseDelay": 0},
        }
    )

    replicator.replicate(request, deadline=Deadline(120), progress=progress)
    replicator.close()

    assert progress.counts().throttles == throttles
