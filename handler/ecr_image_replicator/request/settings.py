"""The settings of the function, from environment variables; see docs/resource-reference.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.model.platforms import Platform, is_all
from ecr_image_replicator.propagation import WINDOW_SECONDS
from ecr_image_replicator.request.allow_lists import (
    DESTINATIONS_VARIABLE,
    SOURCES_VARIABLE,
    AllowLists,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The largest number of parallel blobs when PARALLEL_STREAMS is not set.
DEFAULT_STREAMS: Final = 12
_DEFAULT_PLATFORMS: Final = "linux/amd64"
_MAX_STREAMS: Final = 64


class Settings(NamedTuple):
    """The function's configuration.

    Attributes
    ----------
    default_platforms
        Copied from an index when the resource chooses none; empty for the whole index.
    streams
        The largest number of parallel blobs; memory is streams times the buffer, plus a base.
    plain_http
        Registries that are accessed over plain HTTP, ``host`` or ``host:port``.
    stall_timeout_seconds
        A connection that moves no byte for so long is broken.
    response_timeout_seconds
        How long the response to the last byte of a body may take; only tests set it.
    progress_interval_seconds
        The shortest time between two progress lines of the log.
    propagation_seconds
        How long denials by AWS are retried from the start of a Create or Update.
    allowed
        The allow lists of sources and destinations.
    unverified
        Registries whose certificates are not verified, and that may be plain HTTP; only the
        command line sets it.
    """

    default_platforms: tuple[Platform, ...] = (Platform.parse(_DEFAULT_PLATFORMS),)
    streams: int = DEFAULT_STREAMS
    plain_http: tuple[str, ...] = ()
    stall_timeout_seconds: float = 30.0
    response_timeout_seconds: float = 600.0
    progress_interval_seconds: float = 5.0
    propagation_seconds: float = WINDOW_SECONDS
    allowed: AllowLists = AllowLists()
    unverified: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Parse the configuration.

        DEFAULT_PLATFORMS, PARALLEL_STREAMS, PLAIN_HTTP_REGISTRIES, STALL_TIMEOUT_SECONDS,
        PROGRESS_INTERVAL_SECONDS, ALLOWED_SOURCE_HOSTS, ALLOWED_DESTINATIONS.

        Raises
        ------
        RequestError
            The message names the variable and quotes its value.
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
    """Parse a comma list; ``all`` returns an empty tuple."""
    names = [name.strip() for name in text.split(",") if name.strip()] or [_DEFAULT_PLATFORMS]
    if len(names) == 1 and is_all(names[0]):
        return ()
    if any(map(is_all, names)):
        raise RequestError(
            f"invalid DEFAULT_PLATFORMS: {text!r} has 'all' beside other platforms",
            hint="Use 'all' alone.",
        )
    try:
        return tuple(dict.fromkeys(map(Platform.parse, names)))
    except RequestError as error:
        raise RequestError("DEFAULT_PLATFORMS: ", *error.message, hint=error.hint) from error


def _number(environment: Mapping[str, str], name: str, default: float, most: float) -> float:
    text = environment.get(name, "").strip()
    try:
        number = float(text) if text else default
    except ValueError:
        number = 0.0
    if not 0 < number <= most:
        raise RequestError(f"invalid {name}: {text!r} is not a number above 0 and at most {most:g}")
    return number
