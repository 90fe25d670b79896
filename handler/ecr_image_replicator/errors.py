"""The errors that the engine raises on purpose, as one tree.

::

    ReplicationError
    ├── RequestError                a property, option or setting is invalid
    │   ├── InvalidReferenceError   an image or archive reference is malformed
    │   ├── NotAllowedError         an allow list does not contain the source or destination
    │   ├── PlatformNotFoundError   the image does not have a requested platform
    │   └── ImageNotFoundError      the archive does not contain the image, or several match
    ├── ContentError                bytes do not match their digest, length or media type
    │   ├── InvalidDigestError
    │   ├── InvalidManifestError
    │   ├── InvalidArchiveError     not a tar archive of an image, or damaged
    │   ├── DigestMismatchError
    │   └── SignatureError          no valid signature of the source's digest
    ├── RegistryError               a registry rejected a request; has its status and code
    │   ├── NotFoundError           no such image, tag, blob or repository
    │   ├── DeniedError             authentication failed or access denied
    │   ├── ThrottledError          rate limit, after all attempts
    │   ├── ImmutableTagError       the tag exists with other content and cannot be moved
    │   ├── UnavailableError        not reached or overloaded, after all attempts
    │   │   └── UntrustedHostError  unknown host name, or untrusted certificate
    │   ├── MissingContentError     the registry lacks content that a manifest refers to
    │   └── ProtocolError           a response that the specification does not allow
    ├── ReferrersError              a required referrer cannot be copied
    ├── CredentialsError            no credentials for one of the endpoints
    │   ├── SecretError             a secret is missing, denied, empty or malformed
    │   └── RoleError               a role cannot be assumed
    ├── AwsError                    a call of an AWS API failed; has its action and code
    ├── TransientError              a connection broke or a server is overloaded; may be retried
    │   ├── UnknownHostError        a DNS lookup failed
    │   └── LostUploadError         the upload session is gone or has other bytes than were sent
    ├── OutOfTimeError              the deadline has passed, or the next step would exceed it
    └── StoppedError                cancelled because something else failed first

A message never contains a credential, a token or a URL with a query. Exceptions of libraries may
contain them; they are chained and never printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.sanitize import printable

if TYPE_CHECKING:
    from collections.abc import Callable


class Side(Enum):
    """An endpoint of a replication."""

    SOURCE = "source"
    DESTINATION = "destination"

    def __str__(self) -> str:
        return self.value


class Setting(Enum):
    """A setting that a message names; each front end renders it with its own name.

    The value is the neutral name. `request.properties.PROPERTY_NAMES` has the names of the
    CloudFormation properties, `cli.arguments.OPTION_NAMES` those of the command line.
    """

    SOURCE = "source"
    DESTINATION = "destination"
    DESTINATION_TAGS = "tags"
    SOURCE_CREDENTIALS = "source_credentials"
    DESTINATION_CREDENTIALS = "destination_credentials"
    SOURCE_ROLE = "source_role"
    DESTINATION_ROLE = "destination_role"
    SOURCE_EXTERNAL_ID = "source_external_id"
    DESTINATION_EXTERNAL_ID = "destination_external_id"
    ARCHITECTURE = "architecture"
    PLATFORMS = "platforms"
    COPY_INDEX = "copy_index"
    ARCHITECTURE_TAGS = "architecture_tags"
    COPY_REFERRERS = "copy_referrers"
    FORMAT = "format"
    COMPRESSION = "compression"
    CREATE_REPOSITORY = "create_repository"
    ON_DELETE = "on_delete"
    RETRIES = "retries"
    VERIFY_SIGNATURE_KEY = "verify_signature_key"
    DRY_RUN = "dry_run"

    def __str__(self) -> str:
        return self.value


class Term(Enum):
    """A phrase that each front end has its own words for; the value is the neutral one."""

    RETRY = "try again"
    CALLER = "the caller"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Assignment:
    """A setting and the value that it should have."""

    setting: Setting
    value: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.value}"


#: What a front end names in its own terms.
Name = Setting | Assignment | Term
#: A message in parts: text, and names.
Part = str | Name


class ReplicationError(Exception):
    """The base class of the errors that the engine raises on purpose.

    Parameters
    ----------
    message
        ``<what failed>: <what came back>`` without a final period: text and names, joined.
    hint
        What to do: one concrete action, a sentence with its period.
    """

    def __init__(self, *message: Part, hint: Part | tuple[Part, ...] = ()) -> None:
        super().__init__(*message)
        self.message: Final[tuple[Part, ...]] = message
        self.hint: Final[tuple[Part, ...]] = hint if isinstance(hint, tuple) else (hint,)

    @property
    def kind(self) -> str:
        """The class by which failures are counted, without "Error": ``Denied``."""
        return type(self).__name__.removesuffix("Error")

    def __str__(self) -> str:
        return self.render(str)

    def render(self, name_of: Callable[[Name], str]) -> str:
        """Return message and hint as one line, with the names of a front end."""

        def join(parts: tuple[Part, ...]) -> str:
            return "".join(each if isinstance(each, str) else name_of(each) for each in parts)

        message, hint = join(self.message), join(self.hint)
        if self.hint and isinstance(self.hint[0], Term):
            hint = hint[0].upper() + hint[1:]
        return printable(f"{message.removesuffix('.')}. {hint}" if hint else message)


class RequestError(ReplicationError):
    """A property, option or setting is invalid; nothing was written."""


class InvalidReferenceError(RequestError):
    """An image or archive reference is malformed."""


class NotAllowedError(RequestError):
    """The allow lists of the function do not contain this source or destination."""


class PlatformNotFoundError(RequestError):
    """The image does not have a requested platform; the message lists those that it has."""


class ImageNotFoundError(RequestError):
    """The archive does not contain the image, or several match; the message lists its images."""


class ContentError(ReplicationError):
    """Bytes do not match their digest, length or media type."""


class InvalidDigestError(ContentError):
    """A string is not a digest of a supported algorithm."""


class InvalidManifestError(ContentError):
    """A manifest or index is malformed, unsupported or too large."""


class InvalidArchiveError(ContentError):
    """An object is not a tar archive of an image, is damaged, or is truncated."""


class DigestMismatchError(ContentError):
    """The received bytes have another digest or length than expected."""


class SignatureError(ContentError):
    """The image has no valid signature by the given key."""


class RegistryError(ReplicationError):
    """A registry rejected a request.

    Parameters
    ----------
    message, hint
        As of `ReplicationError`.
    side
        The endpoint that the registry is.
    status
        The HTTP status, 0 when there was no response.
    code
        The registry's error code (``MANIFEST_UNKNOWN``), "" when it sent none.
    """

    def __init__(
        self,
        *message: Part,
        side: Side,
        status: int = 0,
        code: str = "",
        hint: Part | tuple[Part, ...] = (),
    ) -> None:
        super().__init__(*message, hint=hint)
        self.side: Final = side
        self.status: Final = status
        self.code: Final = code


class NotFoundError(RegistryError):
    """The image, tag, blob or repository does not exist."""


class DeniedError(RegistryError):
    """Authentication failed, or access was denied."""


class ThrottledError(RegistryError):
    """The registry limits the rate of requests, and all attempts were throttled.

    Parameters
    ----------
    message, hint, side, status, code
        See `RegistryError`.
    retry_after_seconds
        Seconds until another attempt may succeed; None if unknown.
    """

    def __init__(
        self,
        *message: Part,
        side: Side,
        status: int = 0,
        code: str = "",
        retry_after_seconds: float | None = None,
        hint: Part | tuple[Part, ...] = (),
    ) -> None:
        super().__init__(*message, side=side, status=status, code=code, hint=hint)
        self.retry_after_seconds: Final = retry_after_seconds


class UnavailableError(RegistryError):
    """The registry cannot be reached or is overloaded, after all attempts."""


class UntrustedHostError(UnavailableError):
    """The host name cannot be resolved, or its certificate is not trusted."""


class ImmutableTagError(RegistryError):
    """The tag exists with other content, and the repository does not allow moving it."""


class MissingContentError(RegistryError):
    """The registry rejected a manifest because content that it refers to is missing.

    Parameters
    ----------
    digests
        The digests that the registry named; empty when it named none.
    """

    def __init__(
        self,
        *message: Part,
        side: Side,
        status: int,
        code: str,
        digests: frozenset[str],
        hint: Part | tuple[Part, ...] = (),
    ) -> None:
        super().__init__(*message, side=side, status=status, code=code, hint=hint)
        self.digests: Final = digests


class ProtocolError(RegistryError):
    """The registry sent a response that the specification does not allow."""


class CredentialsError(ReplicationError):
    """The credentials of an endpoint cannot be obtained."""


class SecretError(CredentialsError):
    """A secret is missing, denied, empty or malformed; the message never quotes its content."""


class RoleError(CredentialsError):
    """A role cannot be assumed."""


class AwsError(ReplicationError):
    """A call of an AWS API failed.

    Parameters
    ----------
    message, hint
        As of `ReplicationError`.
    action
        The IAM action: ``ecr:DescribeRepositories``.
    code
        The error code of the service, or the name of botocore's exception without a response.
    reason
        What came back, for messages that wrap this one: ``access denied (AccessDenied: …)``.
    is_explicit_deny
        Whether a policy denies the action explicitly, so that no Allow helps.
    """

    def __init__(
        self,
        *message: Part,
        action: str,
        code: str = "",
        reason: str = "",
        is_explicit_deny: bool = False,
        hint: Part | tuple[Part, ...] = (),
    ) -> None:
        super().__init__(*message, hint=hint)
        self.action: Final = action
        self.code: Final = code
        self.reason: Final = reason
        self.is_explicit_deny: Final = is_explicit_deny

    @property
    def is_denied(self) -> bool:
        """Return whether the caller lacks the permission."""
        return self.code.startswith(("AccessDenied", "NotAuthorized", "UnauthorizedOperation"))


class TransientError(ReplicationError):
    """A connection broke or a server is overloaded; the request may be retried.

    Parameters
    ----------
    message, hint
        As of `ReplicationError`.
    retry_after_seconds
        The value of Retry-After, None without one.
    is_throttle
        Whether the server limits the rate of requests.
    """

    def __init__(
        self,
        *message: Part,
        retry_after_seconds: float | None = None,
        is_throttle: bool = False,
        hint: Part | tuple[Part, ...] = (),
    ) -> None:
        super().__init__(*message, hint=hint)
        self.retry_after_seconds: Final = retry_after_seconds
        self.is_throttle: Final = is_throttle


class UnknownHostError(TransientError):
    """A DNS lookup of a host failed."""


class LostUploadError(TransientError):
    """An upload session is gone or has other bytes than were sent; a new session may work."""


class ReferrersError(ReplicationError):
    """A signature, SBOM or other referrer that is required cannot be copied."""


class OutOfTimeError(ReplicationError):
    """The deadline has passed, or the next step would exceed it."""

    def with_progress(self, progress: str) -> OutOfTimeError:
        """Return the error with the progress after the time: ``timed out after 9 s with …``."""
        elapsed, *reason = self.message
        return OutOfTimeError(elapsed, f" with {progress}", *reason, hint=self.hint)


class StoppedError(ReplicationError):
    """Cancelled because something else failed first; the other error is the one to report."""
