"""Exit statuses: few, so that a script can tell what to do next."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ecr_image_replicator.errors import (
    AwsError,
    ContentError,
    CredentialsError,
    DeniedError,
    ImageNotFoundError,
    NotFoundError,
    OutOfTimeError,
    PlatformNotFoundError,
    ReferrersError,
    ReplicationError,
    RequestError,
    ThrottledError,
    TransientError,
    UnavailableError,
)


class Exit(IntEnum):
    """How a run ended."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    TEMPORARY_FAILURE = 5
    CONTENT = 6
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def meaning(self) -> str:
        """For people."""
        return _MEANINGS[self]


_MEANINGS: Final = {
    Exit.DONE: "done, or there was nothing to do",
    Exit.FAILED: "something else failed",
    Exit.USAGE: "the command line, or a setting, cannot be meant",
    Exit.NOT_FOUND: "no such image, tag, platform or repository",
    Exit.DENIED: "not allowed, or no credentials for it",
    Exit.TEMPORARY_FAILURE: "too many requests, or not reached: the same may work later",
    Exit.CONTENT: "bytes are not what they should be, or not signed as they should be",
    Exit.INTERRUPTED: "Ctrl-C: uploads were cancelled, tags are as they were",
    Exit.TERMINATED: "SIGTERM: the same",
}
#: The first that fits; so what is narrower stands before what is wider.
_BY_ERROR: Final[tuple[tuple[type[ReplicationError], Exit], ...]] = (
    (NotFoundError, Exit.NOT_FOUND),
    (PlatformNotFoundError, Exit.NOT_FOUND),
    (ImageNotFoundError, Exit.NOT_FOUND),
    (RequestError, Exit.USAGE),
    (DeniedError, Exit.DENIED),
    (CredentialsError, Exit.DENIED),
    (ThrottledError, Exit.TEMPORARY_FAILURE),
    (UnavailableError, Exit.TEMPORARY_FAILURE),
    (TransientError, Exit.TEMPORARY_FAILURE),
    (OutOfTimeError, Exit.TEMPORARY_FAILURE),
    (ContentError, Exit.CONTENT),
    (ReferrersError, Exit.CONTENT),
)


def exit_of(error: ReplicationError) -> Exit:
    """Choose the status for what failed."""
    if isinstance(error, AwsError) and error.is_denied:
        return Exit.DENIED
    return next((status for kind, status in _BY_ERROR if isinstance(error, kind)), Exit.FAILED)
