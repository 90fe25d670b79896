"""Keys of the state of mirrors, and ports for storage, executions and schedules."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from ecr_image_replicator.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PREFIX: Final = "mirrors/"
_RUN_PATH: Final = re.compile(r"([0-9a-f]{32})/([A-Za-z0-9][A-Za-z0-9-]{0,39})")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")


class StateStore(Protocol):
    """Small objects by key."""

    @property
    def bucket(self) -> str:
        """The bucket's name."""

    def read(self, key: str) -> bytes | None:
        """Read an object, or return None if it does not exist."""

    def write(self, key: str, content: bytes) -> None:
        """Write an object."""

    def find_keys(self, prefix: str) -> Sequence[str]:
        """List the keys with a prefix."""

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects."""


class Runs(Protocol):
    """Runs of mirrors, by name."""

    def start(self, name: str, run: str) -> bool:
        """Start a run. Return False if a run of the name has ended before."""

    def running(self, prefix: str) -> Iterator[str]:
        """Yield the names of running executions."""

    def stop(self, name: str, cause: str) -> None:
        """Stop a run."""


class Schedules(Protocol):
    """Schedules of mirrors, by name."""

    def put(self, name: str, expression: str, timezone: str, event: Mapping[str, Any]) -> None:
        """Create or replace a schedule."""

    def remove(self, name: str) -> None:
        """Delete a schedule."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a mirror with the keys of its state.

    Attributes
    ----------
    mirror
        The mirror's ID.
    name
        The name, unique among the mirror's runs.
    """

    mirror: str
    name: str

    @classmethod
    def parse(cls, text: object) -> Run:
        """Parse ``ID/NAME``.

        Raises
        ------
        RequestError
            The value is invalid.
        """
        found = _RUN_PATH.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise RequestError("invalid Run: it is a mirror's ID and the name of its run")
        return cls(found[1], found[2])

    @classmethod
    def of_request(cls, mirror: str, request_id: str) -> Run:
        """Return the run of a request, which is the same for a duplicate event."""
        name = request_id
        if not _NAME.fullmatch(name):
            name = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()[:32]
        return cls(mirror, name)

    def __str__(self) -> str:
        return f"{self.mirror}/{self.name}"

    @property
    def execution_name(self) -> str:
        """The name of the run among all mirrors' runs."""
        return f"{self.mirror}-{self.name}"

    @property
    def prefix(self) -> str:
        """The prefix of this run's keys."""
        return f"{PREFIX}{self.mirror}/{self.name}/"

    @property
    def mirror_prefix(self) -> str:
        """The prefix of the keys of all runs of the mirror."""
        return f"{PREFIX}{self.mirror}/"

    @property
    def known(self) -> str:
        """The key of the mirror's known digests."""
        return f"{PREFIX}{self.mirror}/known.json"

    @property
    def request(self) -> str:
        """The key of the event that started the run."""
        return f"{self.prefix}request.json"

    @property
    def choice(self) -> str:
        """The key of the selection."""
        return f"{self.prefix}choice.json"

    @property
    def report(self) -> str:
        """The key of the report."""
        return f"{self.prefix}report.json"

    @property
    def results(self) -> str:
        """The prefix of the keys of results."""
        return f"{self.prefix}results/"

    @property
    def progress(self) -> str:
        """The prefix of the keys of positions."""
        return f"{self.prefix}progress/"

    def items(self, host: str) -> str:
        """Return the key of a host's items."""
        return f"{self.prefix}items-{_safe(host)}.json"

    def result(self, host: str, item: int, part: int) -> str:
        """Return the key of the results of one invocation of a worker."""
        return f"{self.results}{_safe(host)}-{item:05}-{part:05}.json"

    def position(self, host: str, item: int) -> str:
        """Return the key of a worker's position."""
        return f"{self.progress}{_safe(host)}-{item:05}.json"


def _safe(host: str) -> str:
    """Write a host for a key; no two hosts have the same."""
    return re.sub(r"[^a-z0-9.-]", "_", host.lower())
