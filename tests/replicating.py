"""A replication with a new replicator, in the test's process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.outcome import Outcome
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings


def replicate_once(
    properties: Mapping[str, Any], *, seconds: float = 120, **settings: Any
) -> Outcome:
    """Replicate with these resource properties; connections to 127.0.0.1 use plain HTTP."""
    replicator = Replicator(Settings(**{"plain_http": ("127.0.0.1",), **settings}))
    try:
        return replicator.replicate(
            parse_request(dict(properties)), deadline=Deadline(seconds), progress=LoggedProgress()
        )
    finally:
        replicator.close()
