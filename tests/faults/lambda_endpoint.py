"""Lambda's Invoke API for self-invocations. Events are queued for the test."""

from __future__ import annotations

import json
import queue
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import pytest
from local.web import LoopbackServer, Request, Response, read_body

_PREFIX = "/2015-03-31/functions/"
_SUFFIX = "/invocations"


class LambdaEndpoint:
    """An endpoint that records the `events` and `functions` of asynchronous invocations."""

    def __init__(self, *, statuses: tuple[int, ...] = ()) -> None:
        self._server = LoopbackServer(self._respond)
        self._statuses = list(statuses)
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.functions: list[str] = []

    def environment(self) -> dict[str, str]:
        """Environment variables for a function with this endpoint and invalid credentials."""
        return {
            "AWS_ENDPOINT_URL_LAMBDA": self._server.url,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "of-a-test",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def set_environment(self, patch: pytest.MonkeyPatch) -> None:
        for name, value in self.environment().items():
            patch.setenv(name, value)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()

    def _respond(self, request: Request) -> Response:
        content = read_body(request, 1024 * 1024)
        assert request.method == "POST"
        assert request.headers["x-amz-invocation-type"] == "Event"
        path = unquote(request.path)
        self.functions.append(path.removeprefix(_PREFIX).removesuffix(_SUFFIX))
        if self._statuses:
            status = self._statuses.pop(0)
            headers = {"x-amzn-ErrorType": "AccessDeniedException"}
            return Response(status, headers, b'{"Message": "no"}')
        self.events.put(json.loads(content))
        return Response(202)
