"""The requests that a loopback server received, for tests."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})


@dataclass(frozen=True, slots=True)
class AccessLogEntry:
    """One request and the status of its response.

    `status` is 0 when the connection ended without a response. `request_bytes` and
    `response_bytes` count bodies, without chunked framing. `headers` has lower-case names and no
    credentials, of which only the scheme is kept (`Basic`, `Bearer`, or None).
    `started_at_seconds` is on the monotonic clock.
    """

    method: str
    path: str
    query: str
    status: int
    request_bytes: int
    response_bytes: int
    headers: Mapping[str, str] = field(repr=False)
    authorization_scheme: str | None
    started_at_seconds: float = field(repr=False)

    @property
    def host(self) -> str:
        """The host in the request, with the port if there is one."""
        return self.headers.get("host", "")

    @property
    def parameters(self) -> dict[str, str]:
        """The query as a dictionary, the last of equal names winning."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


class AccessLog:
    """A thread-safe list of entries, in the order of their responses."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._entries: dict[int, AccessLogEntry] = {}

    def record(self, entry: AccessLogEntry) -> int:
        """Append an entry and return its number, for `correct_response_bytes`."""
        with self._lock:
            number = next(self._numbers)
            self._entries[number] = entry
        return number

    def correct_response_bytes(self, number: int, response_bytes: int) -> None:
        """Set the number of sent bytes of a response whose connection broke.

        Entries are recorded before the first byte is sent, so that a client that has its response
        always finds the request in the log.
        """
        with self._lock:
            if number in self._entries:
                entry = self._entries[number]
                self._entries[number] = replace(entry, response_bytes=response_bytes)

    def entries(self) -> tuple[AccessLogEntry, ...]:
        """Return a snapshot of all entries."""
        with self._lock:
            return tuple(self._entries.values())

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._entries.clear()


def without_secrets(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers without credentials."""
    return {name: value for name, value in headers.items() if name not in _SECRET_HEADERS}
