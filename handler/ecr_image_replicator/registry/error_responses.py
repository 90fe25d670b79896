"""What a registry's refusal means: error bodies and statuses into one sentence of the error tree.

OCI distribution specification 1.1, "Error Codes".
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import (
    DeniedError,
    NotFoundError,
    RegistryError,
    Setting,
    Side,
    ThrottledError,
    TransientError,
    UnavailableError,
    UnknownHostError,
    UntrustedHostError,
)
from ecr_image_replicator.sanitize import sanitize

if TYPE_CHECKING:
    from ecr_image_replicator.errors import Part
    from ecr_image_replicator.registry.http.messages import HttpResponse

_MAX_MESSAGE_CHARACTERS: Final = 200
_THROTTLES: Final = frozenset({429, 503})
#: Codes for a manifest that came before its parts, the last two as ECR's API names them.
_MISSING_CONTENT: Final = re.compile(
    r"MANIFEST_BLOB_UNKNOWN|BLOB_UNKNOWN|MANIFEST_UNKNOWN"
    r"|LayersNotFound(?:Exception)?|ReferencedImagesNotFound(?:Exception)?"
)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
#: Codes for an upload session that is gone, or whose bytes are not those that were sent.
LOST_UPLOAD_CODES: Final = frozenset(
    {"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "SIZE_INVALID"}
)
CREDENTIALS: Final = {
    Side.SOURCE: Setting.SOURCE_CREDENTIALS,
    Side.DESTINATION: Setting.DESTINATION_CREDENTIALS,
}


class OverloadedError(TransientError):
    """A status that may pass: too many requests, or a server in trouble."""

    def __init__(
        self, answer: HttpResponse, side: Side, registry: str, *, retry_after_seconds: float | None
    ) -> None:
        super().__init__(
            f"the {side} registry {registry} answered {describe_response(answer)}",
            retry_after_seconds=retry_after_seconds,
            is_throttle=answer.status in _THROTTLES,
        )
        self.status: Final = answer.status
        self.code: Final = error_code(answer)


def error_from_response(
    answer: HttpResponse, *, side: Side, registry: str, asked: str, subject: str, login_origin: Part
) -> RegistryError:
    """Turn a refusal into an error.

    Parameters
    ----------
    asked
        What was asked, as the end of "refused to …".
    subject
        What it was asked of: a reference or a digest in a repository.
    login_origin
        Where the credentials in use came from, "" for none.
    """
    found = describe_response(answer)
    code = error_code(answer)
    if answer.status in {401, 403}:
        return DeniedError(
            f"the {side} registry {registry} refused to {asked} {subject} ({found}); ",
            *credentials_hint(side, login_origin),
            side=side,
            status=answer.status,
            code=code,
        )
    if answer.status == 404:
        what = "repository" if code == "NAME_UNKNOWN" else "image or what it refers to"
        return NotFoundError(
            f"the {side} registry {registry} could not {asked} {subject}: there is no such {what} "
            f"({found}); check its name",
            side=side,
            status=404,
            code=code,
        )
    return RegistryError(
        f"the {side} registry {registry} refused to {asked} {subject} ({found})",
        side=side,
        status=answer.status,
        code=code,
    )


def retries_exhausted(error: TransientError, side: Side, attempts: int) -> RegistryError:
    """Say that a passing trouble did not pass in as many attempts as there was time for."""
    times = "once" if attempts == 1 else f"{attempts} times"
    sentence: tuple[Part, ...] = (f"{error}; it was tried {times}, see ", Setting.RETRIES)
    if isinstance(error, OverloadedError):
        if error.status == 429:
            return ThrottledError(
                *sentence,
                side=side,
                status=error.status,
                code=error.code,
                retry_after_seconds=error.retry_after_seconds,
            )
        return UnavailableError(*sentence, side=side, status=error.status, code=error.code)
    if isinstance(error, UnknownHostError):
        return UntrustedHostError(*sentence, side=side)
    return UnavailableError(*sentence, side=side)


def missing_content(answer: HttpResponse) -> frozenset[str] | None:
    """Recognise that a manifest was refused for want of its parts, and read which they are.

    None when it was refused for another reason; empty when the parts are not named.
    """
    codes = [_text(error.get("code")) for error in _errors(answer)]
    if answer.status not in {400, 404} or not any(map(_MISSING_CONTENT.fullmatch, codes)):
        return None
    return frozenset(_DIGEST.findall(answer.content.decode(errors="replace")))


def error_code(answer: HttpResponse) -> str:
    """Give the first error code of the body, "" when there is none."""
    return _first_error(answer)[0]


def describe_response(answer: HttpResponse) -> str:
    """Give status, code and message in a few words, fit for a sentence."""
    code, message = _first_error(answer)
    words = f"{answer.status} {code}".strip()
    return f"{words}: {message}" if message else words


def _first_error(answer: HttpResponse) -> tuple[str, str]:
    first = next(iter(_errors(answer)), {})
    return sanitize(first.get("code"), 64), sanitize(first.get("message"), _MAX_MESSAGE_CHARACTERS)


def _errors(answer: HttpResponse) -> list[dict[str, Any]]:
    try:
        document: Any = json.loads(answer.content) if answer.content else None
    except (ValueError, RecursionError):
        document = None
    errors = document.get("errors") if isinstance(document, dict) else None
    return [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def credentials_hint(side: Side, login_origin: Part) -> tuple[Part, ...]:
    """Return whether credentials were used and from where, as the end of a message."""
    if login_origin:
        return "the credentials from ", login_origin, " were used"
    return "no credentials were given, ", CREDENTIALS[side], " takes them"
