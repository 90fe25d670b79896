"""One replication by an engine of its own, in the test's process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replicator.deadline import Deadline
from replicator.outcome import Outcome
from replicator.progress import LoggedProgress
from replicator.replication import Replicator
from replicator.request import parse_request
from replicator.settings import Settings


def replicate_once(
    properties: Mapping[str, Any], *, seconds: float = 20, **settings: Any
) -> Outcome:
    """Replicate as a stack with these properties has it; 127.0.0.1 is spoken to without TLS."""
    replicator = Replicator(Settings(**{"plain_http": ("127.0.0.1",), **settings}))
    try:
        return replicator.replicate(
            parse_request(dict(properties)), deadline=Deadline(seconds), progress=LoggedProgress()
        )
    finally:
        replicator.close()
