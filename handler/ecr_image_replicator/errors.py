"""What can go wrong, as one tree; every message is one sentence for the stack's owner.

::

    ReplicationError
    ├── RequestError                what the stack asked for cannot be meant
    │   ├── InvalidReferenceError   an image or archive reference is malformed
    │   ├── NotAllowedError         the function does not serve such a source or destination
    │   ├── PlatformNotFoundError   the image lacks a platform that was asked for
    │   └── ImageNotFoundError      the archive lacks the image, or holds several
    ├── ContentError                bytes are not what their name promises
    │   ├── InvalidDigestError
    │   ├── InvalidManifestError
    │   ├── InvalidArchiveError     not a tar archive of an image, or damaged
    │   ├── DigestMismatchError
    │   └── SignatureError          no valid signature of the source's digest
    ├── RegistryError               a registry refused; carries its status and code
    │   ├── NotFoundError           no such image, tag, blob or repository
    │   ├── DeniedError             signed in or not, this is not allowed
    │   ├── ThrottledError          too many requests, also after waiting
    │   ├── UnavailableError        not reached or overloaded, as often as was tried
    │   ├── MissingContentError     what a manifest refers to is not there, it says
    │   └── ProtocolError           an answer that the specification does not allow
    ├── ReferrersError              what belongs to an image is required and was not taken
    ├── CredentialsError            what a side is to sign in with cannot be had
    │   ├── SecretError             a secret is missing, denied, empty or malformed
    │   └── RoleError               a role may not be assumed
    ├── AwsError                    a call of AWS's API failed; carries its action and code
    ├── TransientError              broken off or overloaded; the same again may work
    │   └── LostUploadError         the upload session is gone, or got other bytes than were sent
    ├── OutOfTimeError              the deadline does not leave the time for it
    └── StoppedError                given up because something else failed first

A message says what was asked, what was found and what to do. It never holds a credential, a token
or a URL with a query; exceptions of libraries, which may hold them, are chained and never printed.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class Side(Enum):
    """Which end of a replication something belongs to."""

    SOURCE = "source"
    DESTINATION = "destination"

    def __str__(self) -> str:
        return self.value


class Setting(Enum):
    """Something that a user sets, for messages; each front end has its own name for it.

    The value is the name in Python. `request.properties` has the names of the properties,
    `cli.arguments` those of the options.
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


#: A message in parts: text, and settings that each front end names in its own terms.
Part = str | Setting


class ReplicationError(Exception):
    """The root of everything that the engine raises on purpose.

    Parameters
    ----------
    message
        What failed and what came back, without a final period: text and settings, joined.
    hint
        What to do: one concrete action, a sentence with its period.
    """

    def __init__(self, *message: Part, hint: Part | tuple[Part, ...] = ()) -> None:
        super().__init__(*message)
        self.message: Final[tuple[Part, ...]] = message
        self.hint: Final[tuple[Part, ...]] = hint if isinstance(hint, tuple) else (hint,)

    def __str__(self) -> str:
        return self.render(str)

    def render(self, name_of: Callable[[Setting], str]) -> str:
        """Join message and hint, with each setting as a front end names it."""

        def join(parts: tuple[Part, ...]) -> str:
            return "".join(name_of(each) if isinstance(each, Setting) else each for each in parts)

        message, hint = join(self.message), join(self.hint)
        return f"{message.removesuffix('.')}. {hint}" if hint else message


class RequestError(ReplicationError):
    """What the stack asked for cannot be meant; nothing was read or written."""


class InvalidReferenceError(RequestError):
    """An image or archive reference is malformed."""


class NotAllowedError(RequestError):
    """The function's owner does not let it serve this source or destination."""


class PlatformNotFoundError(RequestError):
    """The image does not have a platform that was asked for; the message lists what it has."""


class ImageNotFoundError(RequestError):
    """The archive does not hold the image, or holds several; the message lists what it holds."""


class ContentError(ReplicationError):
    """Bytes are not what their name, length or media type promises."""


class InvalidDigestError(ContentError):
    """A text is not a digest of a supported algorithm."""


class InvalidManifestError(ContentError):
    """A manifest or index cannot be understood, or is hostile."""


class InvalidArchiveError(ContentError):
    """An object is not a tar archive of an image, is damaged, or is cut off."""


class DigestMismatchError(ContentError):
    """The bytes that arrived are not the ones that the digest names."""


class SignatureError(ContentError):
    """The image does not carry a valid signature by the key that was asked for."""


class RegistryError(ReplicationError):
    """A registry refused a request.

    Parameters
    ----------
    message, hint
        As of `ReplicationError`.
    side
        The end of the replication that refused.
    status
        The HTTP status, 0 when there was none.
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
    """The registry has no such image, tag, blob or repository."""


class DeniedError(RegistryError):
    """The registry does not allow it, with the credentials given or without any."""


class ThrottledError(RegistryError):
    """The registry wants fewer requests than waiting could give it."""


class UnavailableError(RegistryError):
    """The registry was not reached, or kept failing, as often as was tried."""


class MissingContentError(RegistryError):
    """The registry does not take a manifest, as it does not have what the manifest refers to.

    Parameters
    ----------
    digests
        What it named as missing; empty when it did not say.
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
    """The registry answered something that the specification does not allow."""


class CredentialsError(ReplicationError):
    """What a side is to sign in with cannot be had."""


class SecretError(CredentialsError):
    """A secret is missing, denied, empty or malformed; the message never quotes its content."""


class RoleError(CredentialsError):
    """A role may not be assumed."""


class AwsError(ReplicationError):
    """A call of AWS's API failed.

    Parameters
    ----------
    message, hint
        As of `ReplicationError`.
    action
        As IAM names it: ``ecr:DescribeRepositories``.
    code
        The service's error code, "" when there was no answer.
    """

    def __init__(
        self,
        *message: Part,
        action: str,
        code: str = "",
        hint: Part | tuple[Part, ...] = (),
    ) -> None:
        super().__init__(*message, hint=hint)
        self.action: Final = action
        self.code: Final = code

    @property
    def is_denied(self) -> bool:
        """Tell whether the caller lacks the permission."""
        return self.code.startswith(("AccessDenied", "NotAuthorized", "UnauthorizedOperation"))


class TransientError(ReplicationError):
    """A connection broke or a server was overloaded; the same request may work again.

    Parameters
    ----------
    message, hint
        As of `ReplicationError`.
    retry_after_seconds
        How long the server asked to be left alone, when it did.
    is_throttle
        Whether the server wants fewer requests.
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


class LostUploadError(TransientError):
    """An upload session is gone, or other bytes arrived than were sent; a new one may work."""


class ReferrersError(ReplicationError):
    """A signature, SBOM or other referrer that is required cannot be copied."""


class OutOfTimeError(ReplicationError):
    """The time that is left does not allow the next step."""


class StoppedError(ReplicationError):
    """Given up because something else failed first; that other error is the one to show."""
