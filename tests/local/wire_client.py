"""An HTTP client with one connection that sends requests unchanged."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from local.aws import LoopbackAws
from local.registry import RegistryServer


class FakeClock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class WireResponse:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def error_code(self) -> str:
        return str(self.document["errors"][0]["code"])

    @property
    def error_message(self) -> str:
        return str(self.document["errors"][0]["message"])


class WireClient:
    def __init__(self, server: RegistryServer | http.client.HTTPConnection) -> None:
        self._connection = (
            http.client.HTTPConnection(server.host, timeout=60)
            if isinstance(server, RegistryServer)
            else server
        )

    @classmethod
    def through_proxy(cls, aws: LoopbackAws, host: str) -> WireClient:
        context = aws.authority.client_context()
        connection = http.client.HTTPSConnection(
            "127.0.0.1", aws.proxy.port, timeout=60, context=context
        )
        connection.set_tunnel(host, 443)
        return cls(connection)

    def send(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        *,
        chunked: bool = False,
        **headers: str,
    ) -> WireResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, target, body, named, encode_chunked=chunked)
        response = self._connection.getresponse()
        content = response.read()
        lower = {name.lower(): value for name, value in response.getheaders()}
        return WireResponse(response.status, lower, content)

    def close(self) -> None:
        self._connection.close()


def with_digest(location: str, digest: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
