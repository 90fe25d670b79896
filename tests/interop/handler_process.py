"""A function's process: reads events from standard input, writes outputs to standard output."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from typing import Any


class _Context:
    function_name = "replicator"
    function_version = "$LATEST"
    memory_limit_in_mb = 512
    log_stream_name = "2026/01/01/[$LATEST]0123456789abcdef"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:replicator"

    def __init__(self, seconds: float) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._until - time.monotonic()) * 1000)


def _main() -> None:
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the handler prints its log to standard output
    module = __import__(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        response: dict[str, Any]
        try:
            context = _Context(request["Seconds"])
            response = {"Payload": module.lambda_handler(request["Event"], context)}
        except Exception as error:  # noqa: BLE001 - Lambda's runtime reports every exception
            response = {"Error": {"errorType": type(error).__name__, "errorMessage": str(error)}}
        output.write(json.dumps(response) + "\n")


if __name__ == "__main__":
    _main()
