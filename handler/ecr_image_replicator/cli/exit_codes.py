"""Exit statuses, by which a script decides what to do next."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ecr_image_replicator.errors import (
    AwsError,
    ContentError,
    CredentialsError,
    DeniedError,
    ImageNotFoundError,
    ImmutableTagError,
    NotFoundError,
    OutOfTimeError,
    PlatformNotFoundError,
    ReferrersError,
    ReplicationError,
    RequestError,
    ThrottledError,
    TransientError,
    UnavailableError,
    UntrustedHostError,
)


class Exit(IntEnum):
    """The outcome of a run."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    TEMPORARY_FAILURE = 5
    INVALID_CONTENT = 6
    IMMUTABLE_TAG = 7
    UNTRUSTED_HOST = 8
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def meaning(self) -> str:
        """A description for ``--help``."""
        return _MEANINGS[self]


_MEANINGS: Final = {
    Exit.DONE: "done",
    Exit.FAILED: "other failure",
    Exit.USAGE: "invalid arguments or settings",
    Exit.NOT_FOUND: "not found",
    Exit.DENIED: "access denied",
    Exit.TEMPORARY_FAILURE: "temporary failure, retry later",
    Exit.INVALID_CONTENT: "invalid content: digest, signature, archive, manifest",
    Exit.IMMUTABLE_TAG: "immutable tag",
    Exit.UNTRUSTED_HOST: "unknown host or untrusted certificate",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
    Exit.TERMINATED: "terminated (SIGTERM)",
}
#: The first match wins: subclasses before their base classes.
_BY_ERROR: Final[tuple[tuple[type[ReplicationError], Exit], ...]] = (
    (ImmutableTagError, Exit.IMMUTABLE_TAG),
    (UntrustedHostError, Exit.UNTRUSTED_HOST),
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
    (ContentError, Exit.INVALID_CONTENT),
    (ReferrersError, Exit.INVALID_CONTENT),
)


def exit_status(error: ReplicationError) -> Exit:
    """Return the status for an error; what failed because of AWS has the status of its error."""
    rejection = error if isinstance(error, AwsError) else error.__cause__
    if isinstance(rejection, AwsError):
        from ecr_image_replicator.aws.errors import (  # noqa: PLC0415 - for these errors only
            is_not_found,
            is_setting,
            is_temporary,
            is_unauthenticated,
        )

        if rejection.code == "SSLError":
            return Exit.UNTRUSTED_HOST
        if rejection.is_denied or is_unauthenticated(rejection.code):
            return Exit.DENIED
        if is_setting(rejection.code):
            return Exit.USAGE
        if is_not_found(rejection.code):
            return Exit.NOT_FOUND
        if is_temporary(rejection.code):
            return Exit.TEMPORARY_FAILURE
    return next((status for kind, status in _BY_ERROR if isinstance(error, kind)), Exit.FAILED)
