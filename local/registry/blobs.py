"""Reading and deleting blobs (OCI distribution specification 1.1, end-2 and end-10)."""

from __future__ import annotations

from local.registry.blob_responses import serve_blob
from local.registry.context import RegistryContext, requested_digest
from local.registry.errors import ErrorCode, RegistryError
from local.registry.routes import Operation
from local.web import Request, Response


def get_blob(context: RegistryContext, operation: Operation, request: Request) -> Response:
    """Return a blob, a range of it, or a redirect to its storage.

    Raises
    ------
    RegistryError
        404 BLOB_UNKNOWN, 400 DIGEST_INVALID.
    """
    digest = requested_digest(operation.reference)
    blob = context.store.find_blob(operation.repository, digest)
    if blob is None:
        raise RegistryError(
            ErrorCode.BLOB_UNKNOWN,
            f"{operation.repository} has no blob {digest}",
            detail={"digest": digest},
        )
    if context.blob_storage is not None and request.method == "GET":
        location = context.blob_storage.location(
            context.storage_origin, operation.repository, digest
        )
        return Response(307, {"Location": location, "Docker-Content-Digest": digest})
    return serve_blob(blob, request.headers.get("range"))


def delete_blob(context: RegistryContext, operation: Operation, request: Request) -> Response:  # noqa: ARG001 - all endpoints have one signature
    """Remove a blob from its repository.

    Raises
    ------
    RegistryError
        404 BLOB_UNKNOWN, 400 DIGEST_INVALID.
    """
    digest = requested_digest(operation.reference)
    if not context.store.delete_blob(operation.repository, digest):
        raise RegistryError(ErrorCode.BLOB_UNKNOWN, f"{operation.repository} has no blob {digest}")
    return Response(202, {"Docker-Content-Digest": digest})
