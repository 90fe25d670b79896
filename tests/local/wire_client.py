"""A client that sends exactly what a test says, one connection for all of it."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from local.registry import RegistryServer


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def error_code(self) -> str:
        return str(self.document["errors"][0]["code"])


class WireClient:
    def __init__(self, registry: RegistryServer) -> None:
        self._connection = http.client.HTTPConnection(registry.host, timeout=10)

    def send(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        *,
        chunked: bool = False,
        **headers: str,
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, target, body, named, encode_chunked=chunked)
        response = self._connection.getresponse()
        content = response.read()
        lower = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, lower, content)

    def close(self) -> None:
        self._connection.close()


def with_digest(location: str, digest: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
