"""What the function's owner sets, by environment variables; docs/resource-reference.md has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.model.platforms import Platform, is_all
from ecr_image_replicator.request.allow_lists import (
    DESTINATIONS_VARIABLE,
    SOURCES_VARIABLE,
    AllowLists,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Blobs in flight at once, at most, when PARALLEL_STREAMS is not set.
DEFAULT_STREAMS: Final = 12
_DEFAULT_PLATFORMS: Final = "linux/amd64"
_MAX_STREAMS: Final = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """The function's configuration.

    Attributes
    ----------
    default_platforms
        Taken from an index when the resource chooses none; empty for the whole index.
    streams
        Blobs in flight at once, at most; memory is streams times the buffer, and the base.
    plain_http
        Registries that are spoken to in plain HTTP, ``host`` or ``host:port``.
    stall_timeout_seconds
        A connection without a byte for so long counts as broken.
    progress_interval_seconds
        Between two log lines of a long copy at least.
    allowed
        The sources and destinations that are served.
    """

    default_platforms: tuple[Platform, ...] = (Platform.parse(_DEFAULT_PLATFORMS),)
    streams: int = DEFAULT_STREAMS
    plain_http: tuple[str, ...] = ()
    stall_timeout_seconds: float = 30.0
    progress_interval_seconds: float = 5.0
    allowed: AllowLists = field(default_factory=AllowLists)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the configuration from the variables that are set.

        DEFAULT_PLATFORMS, PARALLEL_STREAMS, PLAIN_HTTP_REGISTRIES, STALL_TIMEOUT_SECONDS,
        PROGRESS_INTERVAL_SECONDS, ALLOWED_SOURCE_HOSTS, ALLOWED_DESTINATIONS.

        Raises
        ------
        RequestError
            The sentence names the variable and its value.
        """
        plain_http = environment.get("PLAIN_HTTP_REGISTRIES", "").split(",")
        return cls(
            default_platforms=_platforms(environment.get("DEFAULT_PLATFORMS", "")),
            streams=max(
                1, int(_number(environment, "PARALLEL_STREAMS", DEFAULT_STREAMS, _MAX_STREAMS))
            ),
            plain_http=tuple(filter(None, (name.strip() for name in plain_http))),
            stall_timeout_seconds=_number(environment, "STALL_TIMEOUT_SECONDS", 30.0, 900.0),
            progress_interval_seconds=_number(environment, "PROGRESS_INTERVAL_SECONDS", 5.0, 900.0),
            allowed=AllowLists.parse(
                environment.get(SOURCES_VARIABLE, ""), environment.get(DESTINATIONS_VARIABLE, "")
            ),
        )


def _platforms(text: str) -> tuple[Platform, ...]:
    """Read a comma list; ``all`` is none in particular."""
    names = [name.strip() for name in text.split(",") if name.strip()] or [_DEFAULT_PLATFORMS]
    if len(names) == 1 and is_all(names[0]):
        return ()
    if any(map(is_all, names)):
        raise RequestError(
            f"the function's DEFAULT_PLATFORMS is {text!r}; it is a list of platforms, or 'all' "
            "alone"
        )
    try:
        return tuple(dict.fromkeys(map(Platform.parse, names)))
    except RequestError as error:
        raise RequestError(f"the function's DEFAULT_PLATFORMS: {error}") from error


def _number(environment: Mapping[str, str], name: str, default: float, most: float) -> float:
    text = environment.get(name, "").strip()
    try:
        number = float(text) if text else default
    except ValueError:
        number = 0.0
    if not 0 < number <= most:
        raise RequestError(
            f"the function's {name} is {text!r}; it is a number above 0, at most {most:g}"
        )
    return number
