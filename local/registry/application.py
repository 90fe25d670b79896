"""The registry as one function from a request to its response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from local.registry import blob_uploads, blobs, listings, manifests
from local.registry.authentication import Authentication, required_accesses
from local.registry.context import RegistryContext
from local.registry.errors import RegistryError
from local.registry.routes import Action, Operation, resolve
from local.web import Request, Response

_Endpoint = Callable[[RegistryContext, Operation, Request], Response]


def _ping(context: RegistryContext, operation: Operation, request: Request) -> Response:  # noqa: ARG001 - all endpoints have one signature
    return Response(200, {"Content-Type": "application/json"}, b"{}")


_ENDPOINTS: dict[Action, _Endpoint] = {
    Action.PING: _ping,
    Action.GET_BLOB: blobs.get_blob,
    Action.DELETE_BLOB: blobs.delete_blob,
    Action.START_UPLOAD: blob_uploads.start_upload,
    Action.GET_UPLOAD: blob_uploads.get_upload,
    Action.APPEND_UPLOAD: blob_uploads.append_upload,
    Action.FINISH_UPLOAD: blob_uploads.finish_upload,
    Action.CANCEL_UPLOAD: blob_uploads.cancel_upload,
    Action.GET_MANIFEST: manifests.get_manifest,
    Action.PUT_MANIFEST: manifests.put_manifest,
    Action.DELETE_MANIFEST: manifests.delete_manifest,
    Action.LIST_TAGS: listings.list_tags,
    Action.LIST_REFERRERS: listings.list_referrers,
}


class RegistryApplication:
    """Resolves, authorizes and performs operations, and returns errors as in the specification.

    Calling it may raise `DroppedConnectionError` (a policy's) and `AbortedBodyError` (the client's
    disconnection), which the server handles.
    """

    def __init__(self, context: RegistryContext, authentication: Authentication) -> None:
        self._context = context
        self._authentication = authentication

    def __call__(self, request: Request) -> Response:
        """Return the response to a request."""
        own = self._authentication.serve(request)
        if own is not None:
            return own
        # with a separate origin, another server is the storage
        storage = None if self._context.storage_origin else self._context.blob_storage
        if storage is not None and storage.serves(request):
            return storage.handle(request)
        try:
            operation = resolve(request.method, request.path)
        except RegistryError as error:
            return _marked(error.response())
        try:
            response = self._perform(operation, request)
        except RegistryError as error:
            response = error.response()
        return _marked(self._context.policy.after(operation, request, response))

    def _perform(self, operation: Operation, request: Request) -> Response:
        self._authentication.authorize(request, required_accesses(operation, request))
        self._context.policy.before(operation, request, self._context.store)
        return _ENDPOINTS[operation.action](self._context, operation, request)


def _marked(response: Response) -> Response:
    marks = {"Docker-Distribution-Api-Version": "registry/2.0"}
    return replace(response, headers=marks | dict(response.headers))
