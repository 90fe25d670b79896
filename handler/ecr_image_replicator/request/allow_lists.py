"""Allow lists of a function that many stacks share: source hosts and destination repositories.

They are checked before the first request. The network and the role of the function may reach more
than each of its stacks should.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from ecr_image_replicator.errors import NotAllowedError, RequestError
from ecr_image_replicator.model.archive_references import ArchiveReference
from ecr_image_replicator.model.references import canonical_registry

if TYPE_CHECKING:
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.request.parsing import ReplicationRequest

SOURCES_VARIABLE: Final = "ALLOWED_SOURCE_HOSTS"
DESTINATIONS_VARIABLE: Final = "ALLOWED_DESTINATIONS"
_HOST: Final = r"[A-Za-z0-9.*-]+(?::(?:[0-9]{1,5}|\*))?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?"
_PATH: Final = r"[a-z0-9._/*-]+"
_S3: Final = "s3://"
_BUCKET: Final = rf"{_S3}[A-Za-z0-9._*-]+"


class Pattern(NamedTuple):
    """A host, and optionally a repository on it; ``*`` matches any characters.

    Attributes
    ----------
    host
        ``host`` or ``host:port``, lowercase; ``s3://bucket`` for archives.
    path
        The repository; "" matches every repository.
    """

    host: str
    path: str = ""

    @classmethod
    def parse(cls, text: str, variable: str, *, takes_path: bool) -> Pattern:
        """Parse ``host[:port]``; for sources also ``s3://bucket``, for destinations a repository.

        Raises
        ------
        RequestError
            The pattern is malformed.
        """
        if not takes_path and re.fullmatch(_BUCKET, text):
            return cls(text)
        host, slash, path = text.partition("/")
        is_sound = re.fullmatch(_HOST, host) and (
            not slash or (takes_path and re.fullmatch(_PATH, path))
        )
        if not is_sound:
            forms = "host, host:port or " + ("host/repository" if takes_path else "s3://bucket")
            raise RequestError(
                f"invalid {variable}: {text[:80]!r} is not a pattern",
                hint=f"Use {forms}; * matches any characters.",
            )
        return cls(canonical_registry(host), path)

    def allows(self, host: str, path: str) -> bool:
        """Return whether a host and a repository match; only ``*`` is for hosts and buckets."""
        if self.host != "*" and self.host.startswith(_S3) is not host.startswith(_S3):
            return False
        return _matches(self.host, host) and (not self.path or _matches(self.path, path))

    def __str__(self) -> str:
        return f"{self.host}/{self.path}" if self.path else self.host


class AllowLists(NamedTuple):
    """The allow lists; an empty list allows everything.

    Attributes
    ----------
    sources, destinations
        Patterns, at least one of which must match.
    """

    sources: tuple[Pattern, ...] = ()
    destinations: tuple[Pattern, ...] = ()

    @classmethod
    def parse(cls, sources: str, destinations: str) -> AllowLists:
        """Parse two comma lists.

        Raises
        ------
        RequestError
            A pattern is malformed.
        """
        return cls(
            tuple(Pattern.parse(t, SOURCES_VARIABLE, takes_path=False) for t in _split(sources)),
            tuple(
                Pattern.parse(t, DESTINATIONS_VARIABLE, takes_path=True)
                for t in _split(destinations)
            ),
        )

    def check(self, request: ReplicationRequest) -> None:
        """Check the source and the destination of a replication.

        Raises
        ------
        NotAllowedError
            No pattern matches one of them.
        """
        source = request.source
        origin = (
            f"{_S3}{source.bucket}" if isinstance(source, ArchiveReference) else source.registry
        )
        if self.sources and not any(p.allows(origin, "") for p in self.sources):
            raise NotAllowedError(
                f"source {origin} is not allowed: {SOURCES_VARIABLE} is {_listed(self.sources)}",
                hint="Ask the owner of the function to add it.",
            )
        self.check_destination(request.destination)

    def check_destination(self, destination: ImageReference) -> None:
        """Check a destination.

        Raises
        ------
        NotAllowedError
            No pattern matches it.
        """
        host, path = destination.registry, destination.repository
        if self.destinations and not any(p.allows(host, path) for p in self.destinations):
            raise NotAllowedError(
                f"destination {destination.name} is not allowed: {DESTINATIONS_VARIABLE} is "
                f"{_listed(self.destinations)}",
                hint="Ask the owner of the function to add it.",
            )


def _split(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _matches(pattern: str, text: str) -> bool:
    """Return whether a text matches a pattern with ``*``, in linear time."""
    first, *middle = pattern.split("*")
    if not middle:
        return text == first
    last = middle.pop()
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    position, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


def _listed(patterns: tuple[Pattern, ...]) -> str:
    shown = ", ".join(map(str, patterns[:10]))
    return shown if len(patterns) <= 10 else f"{shown} and {len(patterns) - 10} more"
