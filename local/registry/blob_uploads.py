"""Pushing and mounting blobs (OCI distribution specification 1.1, end-4a to end-6, end-11, end-13).

The Location of an upload has a `_state` which is required, so that a client that rebuilds the
URL instead of following it receives an error.
"""

from __future__ import annotations

import re

from local.registry.context import RegistryContext, requested_digest
from local.registry.digests import Digest
from local.registry.errors import ErrorCode, RegistryError
from local.registry.routes import Operation, is_repository_name
from local.registry.uploads import BusyUploadError, UploadSession
from local.web import Request, Response

_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?(\d+)-(\d+)(?:/(?:\d+|\*))?")


def start_upload(context: RegistryContext, operation: Operation, request: Request) -> Response:
    """Mount a blob (201), store a blob (201 with `digest`), or open a session (202).

    If the source of a mount does not have the blob, open a session.

    Raises
    ------
    RegistryError
        400 DIGEST_INVALID.
    """
    mount, digest = request.parameter("mount"), request.parameter("digest")
    if mount is not None:
        mounted = _mount(context, operation.repository, request.parameter("from"), mount)
        if mounted is not None:
            return _created(context, operation, request, mounted)
    if digest is not None:
        expected = requested_digest(digest)
        session = context.store.start_upload(operation.repository)
        try:
            session.append(request.body)
            _commit(context, session, expected)
        except BaseException:
            # no client knows this session's Location, so no other request can cancel it
            context.store.cancel_upload(session)
            raise
        return _created(context, operation, request, expected)
    session = context.store.start_upload(operation.repository)
    return Response(202, _session_headers(context, session, request))


def get_upload(context: RegistryContext, operation: Operation, request: Request) -> Response:
    """Return the received range of an upload (204 with Range).

    Raises
    ------
    RegistryError
        404 BLOB_UPLOAD_UNKNOWN.
    """
    session = _session(context, operation, request)
    return Response(204, _session_headers(context, session, request))


def append_upload(context: RegistryContext, operation: Operation, request: Request) -> Response:
    """Append one chunk, or a stream of unknown length, to an upload (202).

    Raises
    ------
    RegistryError
        404 BLOB_UPLOAD_UNKNOWN; 416 BLOB_UPLOAD_INVALID for a chunk out of order; 400
        SIZE_INVALID for a Content-Range that is not as long as the body.
    """
    session = _session(context, operation, request)
    _append(context, session, request)
    if context.store.find_upload(session.repository, session.id) is None:
        raise _unknown(operation)
    return Response(202, _session_headers(context, session, request))


def finish_upload(context: RegistryContext, operation: Operation, request: Request) -> Response:
    """Append the body, if there is one, and store the upload as a blob (201).

    A digest mismatch cancels the upload.

    Raises
    ------
    RegistryError
        As `append_upload`; 400 DIGEST_INVALID for a digest that is missing, malformed or not the
        content's.
    """
    session = _session(context, operation, request)
    digest = requested_digest(request.parameter("digest") or "")
    _append(context, session, request)
    _commit(context, session, digest)
    return _created(context, operation, request, digest)


def cancel_upload(context: RegistryContext, operation: Operation, request: Request) -> Response:
    """Cancel an upload (204).

    Raises
    ------
    RegistryError
        404 BLOB_UPLOAD_UNKNOWN.
    """
    context.store.cancel_upload(_session(context, operation, request))
    return Response(204)


def _mount(
    context: RegistryContext, repository: str, source: str | None, mount: str
) -> Digest | None:
    digest = requested_digest(mount)
    if source is None or not is_repository_name(source):
        return None
    if not context.store.has_blob(source, digest):
        return None
    if not context.policy.may_mount(source, repository, digest, context.store):
        return None
    context.store.link_blob(repository, digest)
    return digest


def _append(context: RegistryContext, session: UploadSession, request: Request) -> None:
    try:
        with session.exclusive():
            content_range = request.headers.get("content-range")
            if content_range is not None:
                _check_order(context, session, request, content_range)
            session.append(request.body)
    except BusyUploadError as error:
        raise RegistryError(ErrorCode.BLOB_UPLOAD_INVALID, str(error), status=409) from error


def _check_order(
    context: RegistryContext, session: UploadSession, request: Request, content_range: str
) -> None:
    match = _CONTENT_RANGE.fullmatch(content_range.strip())
    if match is None:
        raise RegistryError(
            ErrorCode.BLOB_UPLOAD_INVALID, f"not a Content-Range: {content_range!r}"
        )
    first, last = int(match.group(1)), int(match.group(2))
    if first != session.received_bytes:
        raise RegistryError(
            ErrorCode.BLOB_UPLOAD_INVALID,
            f"the next expected byte is {session.received_bytes}, not {first}",
            status=416,
            headers=_session_headers(context, session, request),
        )
    if request.content_length is not None and last - first + 1 != request.content_length:
        raise RegistryError(
            ErrorCode.SIZE_INVALID,
            f"Content-Range has {last - first + 1} bytes, the body {request.content_length}",
        )


def _commit(context: RegistryContext, session: UploadSession, digest: Digest) -> None:
    with session.exclusive():
        if not session.has_digest(digest):
            context.store.cancel_upload(session)
            raise RegistryError(ErrorCode.DIGEST_INVALID, f"the upload's content is not {digest}")
        context.policy.before_blob(session, digest, context.store)
        if not context.store.finish_upload(session, digest):
            message = f"the upload session {session.id} was cancelled"
            raise RegistryError(ErrorCode.BLOB_UPLOAD_UNKNOWN, message)


def _session(context: RegistryContext, operation: Operation, request: Request) -> UploadSession:
    session = context.store.find_upload(operation.repository, operation.reference)
    if session is None:
        raise _unknown(operation)
    if request.parameter("_state") != session.state:
        message = "the URL is not the upload's Location: its _state is missing"
        raise RegistryError(ErrorCode.BLOB_UPLOAD_INVALID, message)
    return session


def _unknown(operation: Operation) -> RegistryError:
    message = f"{operation.repository} has no upload session {operation.reference}"
    return RegistryError(ErrorCode.BLOB_UPLOAD_UNKNOWN, message)


def _session_headers(
    context: RegistryContext, session: UploadSession, request: Request
) -> dict[str, str]:
    path = f"/v2/{session.repository}/blobs/uploads/{session.id}?_state={session.state}"
    return {
        "Location": context.location(request, path),
        "Range": f"0-{max(0, session.received_bytes - 1)}",
        "Docker-Upload-UUID": session.id,
    }


def _created(
    context: RegistryContext, operation: Operation, request: Request, digest: Digest
) -> Response:
    location = context.location(request, f"/v2/{operation.repository}/blobs/{digest}")
    return Response(201, {"Location": location, "Docker-Content-Digest": digest})
