"""A replicator, a Lambda context and a response endpoint that tests can configure."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from tests.unit.builders import digest_of

from ecr_image_replicator.copy.ports import Progress
from ecr_image_replicator.copy.results import TransferReport
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.outcome import Outcome
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import ReplicationRequest
from ecr_image_replicator.request.settings import Settings

HOST = "cloudformation-custom-resource-response-useast1.s3.us-east-1.amazonaws.com"
URL = f"https://{HOST}/response?signature=hunter2"
PROPERTIES = {"SrcImage": "nginx:1.27", "DestImage": "quay.io/team/app:v1"}
DIGEST = digest_of(b"image")
NEW_ID = f"quay.io/team/app:v1@{DIGEST}"


class FakeContext:
    """A Lambda context with 900 seconds left by default."""

    aws_request_id = "function-request"
    log_stream_name = "2026/11/21/[$LATEST]0123"

    def __init__(self, seconds: float = 900.0) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


class FakeReplicator(Replicator):
    """A replicator that runs a function of the test."""

    def __init__(
        self, work: Callable[[Deadline], None] = lambda _: None, settings: Settings | None = None
    ) -> None:
        super().__init__(settings or Settings())
        self._work = work
        self.requests: list[ReplicationRequest] = []

    def replicate(
        self,
        request: ReplicationRequest,
        *,
        deadline: Deadline,
        progress: Progress,
        previous: str = "",
        **_: object,
    ) -> Outcome:
        assert progress is not None
        assert isinstance(previous, str)
        self.requests.append(request)
        self._work(deadline)
        return Outcome(
            request.destination, DIGEST, "application/x", (), True, TransferReport(), 1.0
        )


class Endpoint:
    """A response endpoint that records the delivered responses."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.budgets: list[float] = []
        self.accepts = True

    def deliver(
        self,
        url: str,
        body: Mapping[str, Any],
        *,
        budget_seconds: float,
        tls: ssl.SSLContext | None = None,
    ) -> bool:
        assert url == URL
        assert tls is not None
        self.bodies.append(json.loads(json.dumps(body)))
        self.budgets.append(budget_seconds)
        return self.accepts


def raising(error: Exception) -> Callable[[Deadline], None]:
    def work(_: Deadline) -> None:
        raise error

    return work


def event_of(request_type: str = "Create", **more: Any) -> dict[str, Any]:
    return {
        "RequestType": request_type,
        "ResponseURL": URL,
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Image",
        "ResourceType": "Custom::ECRImage",
        "ResourceProperties": PROPERTIES,
        **more,
    }
