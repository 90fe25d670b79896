"""Error responses of registries: what they say, and the errors that are raised for them.

OCI distribution specification 1.1, "Error Codes".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import (
    MissingContentError,
    NotFoundError,
    ProtocolError,
    RegistryError,
    Side,
    UnavailableError,
)
from ecr_image_replicator.registry.denials import (
    REFERENCE_SETTINGS,
    access_denied_error,
    authentication_error,
)
from ecr_image_replicator.registry.error_bodies import (
    beginning,
    describe_response,
    error_code,
    error_codes,
    media_type,
    named_digests,
)
from ecr_image_replicator.request.credentials import CREDENTIALS_SETTINGS
from ecr_image_replicator.retries import OverloadedError

if TYPE_CHECKING:
    from ecr_image_replicator.errors import Part
    from ecr_image_replicator.registry.http.messages import HttpResponse

#: Codes for a manifest that came before its parts, the last two as ECR's API names them.
_MISSING_CONTENT: Final = re.compile(
    r"MANIFEST_BLOB_UNKNOWN|BLOB_UNKNOWN|MANIFEST_UNKNOWN|BLOB_UPLOAD_UNKNOWN"
    r"|LayersNotFound(?:Exception)?|ReferencedImagesNotFound(?:Exception)?"
)
#: Codes for what does not exist.
_NOT_FOUND: Final = frozenset({"BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "NAME_UNKNOWN"})
#: Codes of requests that fail again when they are repeated, whatever the status.
_PERMANENT_CODES: Final = frozenset(
    {
        "BLOB_UNKNOWN",
        "DENIED",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "MANIFEST_UNVERIFIED",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "TAG_INVALID",
        "UNAUTHORIZED",
        "UNSUPPORTED",
    }
)
#: Of rejections of an immutable tag; others have another reason.
_IMMUTABLE_STATUSES: Final = frozenset({400, 403, 405, 409, 412, 422})
#: Codes for an upload session that is gone, or whose bytes are not those that were sent.
LOST_UPLOAD_CODES: Final = frozenset(
    {"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "SIZE_INVALID"}
)
_TOO_LARGE_HINT: Final = (
    "The registry, or a proxy in front of it, limits the size of a request: raise that limit "
    "(client_max_body_size in nginx, LimitRequestBody in Apache)."
)
#: distribution sends this 500 for the `urls` of foreign layers, and if its storage fails.
_FOREIGN_LAYER_HINT: Final = (
    "If the image has foreign layers, allow their URLs in the registry (validation.manifests.urls)."
)


def overloaded_error(
    response: HttpResponse, operation: str, *, retry_after_seconds: float | None
) -> OverloadedError:
    """Return the error for a response whose status may pass."""
    problem = "rate limit exceeded" if response.status == 429 else "unavailable"
    return OverloadedError(
        f"cannot {operation}: {problem} ({describe_response(response)})",
        status=response.status,
        code=error_code(response),
        retry_after_seconds=retry_after_seconds,
    )


def error_from_response(
    response: HttpResponse,
    operation: str,
    *,
    side: Side,
    login_origin: Part | None,
    unused_origin: Part | None = None,
    has_token: bool = False,
) -> RegistryError:
    """Return the error to raise for a response that is no success.

    Parameters
    ----------
    operation
        What failed: ``pull docker.io/acme/app:1.0``, ``push blob sha256:… to ghcr.io/acme/app``.
    side
        The endpoint that responded.
    login_origin
        Where the credentials in use come from, None when there are none.
    unused_origin
        Where credentials come from that the registry did not request.
    has_token
        Whether a token service accepted the credentials: a 401 then denies what the token does not
        allow (RFC 6750, section 3.1, "insufficient_scope", as the distribution project sends it).
    """
    status, code = response.status, error_code(response)
    failed, found = f"cannot {operation}", describe_response(response)
    if status == 401 and not has_token:
        return authentication_error(
            failed,
            found,
            side=side,
            login_origin=login_origin,
            unused_origin=unused_origin,
            status=status,
            code=code,
        )
    if status in {401, 403}:
        return access_denied_error(
            failed,
            found,
            side=side,
            login_origin=login_origin,
            unused_origin=unused_origin,
            status=status,
            code=code,
        )
    if is_not_found(response):
        return _not_found(failed, found, side, login_origin or unused_origin, status, code)
    if status < 400:
        return ProtocolError(
            f"{failed}: invalid response ({found})", side=side, status=status, code=code
        )
    if status >= 500 and code not in _PERMANENT_CODES:
        return UnavailableError(
            f"{failed}: unavailable ({found})", side=side, status=status, code=code
        )
    is_foreign_layer = status == 500 and code == "MANIFEST_BLOB_UNKNOWN"
    hint = _TOO_LARGE_HINT if status == 413 else _FOREIGN_LAYER_HINT if is_foreign_layer else ()
    problem = "request too large" if status == 413 else "request rejected"
    return RegistryError(
        f"{failed}: {problem} ({found})", hint=hint, side=side, status=status, code=code
    )


def is_not_found(response: HttpResponse) -> bool:
    """Return whether what was requested does not exist: by the status, or by the error's code."""
    is_rejected = 400 <= response.status < 500 and response.status not in {401, 403, 429}
    return response.status in {404, 410} or (is_rejected and error_code(response) in _NOT_FOUND)


def _not_found(
    failed: str, found: str, side: Side, login_origin: Part | None, status: int, code: str
) -> NotFoundError:
    hint: tuple[Part, ...]
    if side is Side.DESTINATION or code == "NAME_UNKNOWN":
        missing, hint = "repository", ("Check the repository name in ", REFERENCE_SETTINGS[side])
    else:
        missing = "image"
        hint = ("Check the repository name and the tag in ", REFERENCE_SETTINGS[side])
    if login_origin is None:
        # registries that serve anonymous users hide private repositories behind a 404
        hint += ("; if the repository is private, set ", CREDENTIALS_SETTINGS[side])
    return NotFoundError(
        f"{failed}: {missing} not found ({found})",
        hint=(*hint, "."),
        side=side,
        status=status,
        code=code,
    )


def blob_not_found_error(response: HttpResponse, operation: str) -> NotFoundError:
    """Return the error for a blob that the source does not have, with any code.

    Its manifest was read before. The response may be that of a storage.
    """
    return NotFoundError(
        f"cannot {operation}: blob not found ({describe_response(response)})",
        hint="Push the image to the source again: its content there is incomplete.",
        side=Side.SOURCE,
        status=response.status,
        code=error_code(response),
    )


def not_a_registry(response: HttpResponse, operation: str, host: str, side: Side) -> ProtocolError:
    """Return the error for a web page where the registry's API should be."""
    return ProtocolError(
        f"cannot {operation}: invalid response, {host} is not a container registry "
        f"({describe_response(response)}, {media_type(response) or 'no content type'})",
        hint=("Check the host name in ", REFERENCE_SETTINGS[side], "."),
        side=side,
        status=response.status,
    )


def missing_content(response: HttpResponse) -> frozenset[str] | None:
    """Return the digests that a registry reports as missing when it rejects a manifest.

    None when it was rejected for another reason; empty when the parts are not named.
    """
    codes = error_codes(response)
    is_missing = any(map(_MISSING_CONTENT.fullmatch, codes)) or _is_missing_in_ecr(response)
    if response.status not in {400, 404} or not is_missing:
        return None
    return named_digests(response)


def missing_content_error(
    response: HttpResponse, operation: str, side: Side
) -> MissingContentError | None:
    """Return the error for a manifest whose parts a registry lacks; None for another reason."""
    missing = missing_content(response)
    if missing is None:
        return None
    return MissingContentError(
        f"cannot {operation}: missing content, the registry does not have what the manifest "
        f"refers to ({describe_response(response)})",
        side=side,
        status=response.status,
        code=error_code(response),
        digests=missing,
    )


def is_immutable_tag(response: HttpResponse) -> bool:
    """Return whether a registry rejects a manifest for its immutable tag; by the text.

    Harbor: 412 PRECONDITION "… configured as immutable" (goharbor/harbor, middleware/immutable).
    ECR: 400 TAG_INVALID "… cannot be overwritten because the repository is immutable".
    """
    is_rejected = response.status in _IMMUTABLE_STATUSES
    return is_rejected and "immutab" in describe_response(response).lower()


def _is_missing_in_ecr(response: HttpResponse) -> bool:
    """Return whether ECR rejects a manifest for missing content; by the text, the code varies.

    ``Layers with digests '[…]' required for pushing image … do not exist``, with
    BLOB_UPLOAD_UNKNOWN in mapbox/ecs-conex#50; ``Images with digests`` for the children of an
    index (int128/docker-manifest-create-action#63).
    """
    text = beginning(response)
    return b"Layers with digests" in text or b"Images with digests" in text


def is_expired_token(response: HttpResponse) -> bool:
    """Return whether a response says that the token has expired; by the text, there is no code.

    ECR: 400, 401 or 403 "Your authorization token has expired. Reauthenticate and try again."
    (ECR Public: aws/containers-roadmap#2835).
    """
    text = beginning(response).lower()
    return response.status in {400, 401, 403} and b"authorization token has expired" in text


def is_permanent(response: HttpResponse) -> bool:
    """Return whether an error code says that the same request fails again, whatever the status."""
    return not _PERMANENT_CODES.isdisjoint(error_codes(response))
