"""Registries whose error responses contain the credentials of the request."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator

import pytest
from local.registry import RegistryServer
from local.web import LoopbackServer, Request, Response
from tests.functional.conftest import Function

PASSWORD = 'correct"horse'
PAIR = base64.b64encode(f"robot:{PASSWORD}".encode()).decode()
TOKEN = "tokenofletters"


def denied_response(message: str, status: int = 403) -> Response:
    body = {"errors": [{"code": "DENIED", "message": message}]}
    return Response(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


class EchoingRegistry:
    """A registry that repeats the Authorization header in its errors."""

    def __init__(self, scheme: str, status: int) -> None:
        self.scheme, self.status = scheme, status

    def __call__(self, request: Request) -> Response:
        sent = request.headers.get("authorization", "")
        if request.path == "/token":
            return Response(200, body=json.dumps({"token": TOKEN}).encode())
        if not sent:
            realm = f"http://{request.headers['host']}/token"
            return Response(401, {"WWW-Authenticate": f'{self.scheme} realm="{realm}"'})
        words = f"no, {sent} of robot with {PASSWORD} ({sent.partition(' ')[2]})"
        return denied_response(words, self.status)


@pytest.fixture
def start_echoing_registry() -> Iterator[Callable[[str, int], str]]:
    started: list[LoopbackServer] = []

    def start(scheme: str, status: int) -> str:
        started.append(LoopbackServer(EchoingRegistry(scheme, status)).start())
        return started[-1].host

    yield start
    for server in started:
        server.close()


@pytest.mark.parametrize("status", [400, 403, 503])
@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
@pytest.mark.parametrize("side", ["Src", "Dest"])
def test_a_secret_in_an_error_response_is_redacted_in_the_message_and_the_log(
    function: Function,
    registries: Callable[..., RegistryServer],
    start_echoing_registry: Callable[[str, int], str],
    caplog: pytest.LogCaptureFixture,
    scheme: str,
    status: int,
    side: str,
) -> None:
    caplog.set_level(logging.DEBUG, logger="ecr_image_replicator")
    host = start_echoing_registry(scheme, status)
    other = registries()
    images = {"Src": f"{host}/app:1", "Dest": f"{other.host}/app:1"}
    if side == "Dest":
        images = {"Src": f"{other.host}/app:1", "Dest": f"{host}/app:1"}

    response = function.create(
        images["Src"],
        images["Dest"],
        **{f"{side}Creds": f"robot:{PASSWORD}"},
        RetryConfigs={"numAttempts": 2, "baseDelay": 0},
    )

    assert response["Status"] == "FAILED"
    output = f"{response['Reason']}\n{caplog.text}"
    for secret in (PASSWORD, json.dumps(PASSWORD)[1:-1], PAIR, TOKEN):
        assert secret not in output
