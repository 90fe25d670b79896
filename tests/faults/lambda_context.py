"""The context that Lambda passes with an event."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

FUNCTION_ARN = "arn:aws:lambda:eu-central-1:123456789012:function:replicator"


@dataclass
class LambdaContext:
    timeout_seconds: float = 120.0
    invoked_function_arn: str = FUNCTION_ARN
    aws_request_id: str = "4b2d2a3e-0000-4000-8000-5d1f3b9d2c11"
    log_stream_name: str = "2026/01/01/[$LATEST]0123456789abcdef"
    function_name: str = "replicator"
    function_version: str = "$LATEST"
    clock: Callable[[], float] = time.monotonic
    started_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.started_at = self.clock()

    def get_remaining_time_in_millis(self) -> int:
        left_seconds = self.started_at + self.timeout_seconds - self.clock()
        return max(0, int(left_seconds * 1000))
