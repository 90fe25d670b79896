"""A transfer between fakes, and the plan of a small image."""

from __future__ import annotations

from collections.abc import Sequence

from tests.unit.builders import FakeClock, FakeDestination, FakeSource, image

from ecr_image_replicator.copy.plan import ReplicationPlan, make_plan
from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.copy.transfer import Transfer
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import DeniedError, Side
from ecr_image_replicator.retries import Backoff, RetryPolicy

LAYERS = (b"333", b"1", b"55555")
DENIED = DeniedError("no", side=Side.DESTINATION)


def new_transfer(
    source: FakeSource,
    destination: FakeDestination,
    *,
    deadline: Deadline | None = None,
    attempts: int = 3,
    streams: int = 1,
    buffer_bytes: int = 4,
) -> Transfer:
    clock = FakeClock()
    deadline = deadline or Deadline(100, clock=clock, wait=clock.wait)
    return Transfer(
        source,
        destination,
        destination,
        deadline=deadline,
        backoff=Backoff(RetryPolicy(attempts), deadline, draw=lambda: 0.5),
        progress=LoggedProgress(),
        streams=streams,
        buffer_bytes=buffer_bytes,
    )


def new_plan(*tags: str, layers: Sequence[bytes] = LAYERS) -> ReplicationPlan:
    return make_plan(image(layers), {}, tags)
