"""Differences between ECR's registries and the specification."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from local.ecr.authentication import EcrAuthentication
from local.ecr.errors import (
    AccessDeniedError,
    invalid_parameter,
    references_not_found,
    repository_not_found,
)
from local.ecr.pull_through import copy_image
from local.ecr.registry import EcrRegistry
from local.registry import (
    Action,
    DroppedConnectionError,
    ErrorCode,
    Manifest,
    Operation,
    RegistryError,
    SpecificationPolicy,
    Store,
)
from local.registry.digests import Digest
from local.registry.uploads import UploadSession
from local.web import Request, Response

_ACTIONS = {
    Action.GET_BLOB: "ecr:GetDownloadUrlForLayer",
    Action.START_UPLOAD: "ecr:InitiateLayerUpload",
    Action.GET_UPLOAD: "ecr:UploadLayerPart",
    Action.APPEND_UPLOAD: "ecr:UploadLayerPart",
    Action.FINISH_UPLOAD: "ecr:CompleteLayerUpload",
    Action.CANCEL_UPLOAD: "ecr:UploadLayerPart",
    Action.GET_MANIFEST: "ecr:BatchGetImage",
    Action.PUT_MANIFEST: "ecr:PutImage",
    Action.DELETE_MANIFEST: "ecr:BatchDeleteImage",
    Action.LIST_TAGS: "ecr:ListImages",
    Action.LIST_REFERRERS: "ecr:BatchGetImage",  # as the API reference of ListImageReferrers says
}
_TAGS_PAGE_LIMIT = 1000
_TAGS_PER_IMAGE = 1000
_INVALID_JSON = invalid_parameter("ImageManifest", "Invalid JSON syntax").message


class EcrPolicy(SpecificationPolicy):
    """The behaviour of one of ECR's registries."""

    def __init__(self, registry: EcrRegistry, authentication: EcrAuthentication) -> None:
        self._registry = registry
        self._authentication = authentication
        self._first_ranges: dict[str, str] = {}
        self._lock = threading.Lock()

    def before(self, operation: Operation, request: Request, store: Store) -> None:  # noqa: ARG002 - signature of Policy
        """Check permission, repository and rate, and import images of pull-through cache rules."""
        if operation.action is Action.PING:
            return
        self._check_permission(operation, request)
        self._import(operation, request)
        self._check_repository(operation)
        match operation.action:
            case Action.PUT_MANIFEST:
                if not self._registry.allows_put_image():
                    raise RegistryError(ErrorCode.TOOMANYREQUESTS, "Rate exceeded")
            case Action.LIST_TAGS:
                _check_page(request)
            case Action.GET_MANIFEST:
                self._check_storage_class(operation)
            case Action.GET_BLOB:
                self._check_reference(operation, request)
            case Action.DELETE_BLOB | Action.DELETE_MANIFEST:
                raise RegistryError(ErrorCode.UNSUPPORTED, "use BatchDeleteImage", status=404)

    def may_mount(self, source: str, target: str, digest: Digest, store: Store) -> bool:  # noqa: ARG002 - signature of Policy
        """Allow mounts of referenced, equally encrypted blobs if the account setting is on."""
        known = self._registry.find_repository(source), self._registry.find_repository(target)
        return (
            self._registry.account_settings["BLOB_MOUNTING"] == "ENABLED"
            and known[0] is not None
            and known[1] is not None
            and known[0].encryption == known[1].encryption
            and self._registry.refers_to(source, digest)
        )

    def before_blob(self, session: UploadSession, digest: Digest, store: Store) -> None:  # noqa: ARG002 - signature of Policy
        """Reject an empty blob."""
        if session.received_bytes == 0:
            store.cancel_upload(session)
            raise RegistryError(
                ErrorCode.BLOB_UPLOAD_INVALID,
                f"The upload with id '{session.id}' in the repository with name "
                f"'{session.repository}' in registry with id '{self._registry.account}' cannot be "
                "completed because it does not have any parts",
            )

    def before_manifest(
        self, repository: str, reference: str, manifest: Manifest, store: Store
    ) -> None:
        """Reject an immutable tag, a tag above the limit, or a body that ECR does not support."""
        body_types = {manifest.document.get("mediaType"), manifest.media_type}
        if self._registry.quirks.rejects_bodies_without_media_type and len(body_types) > 1:
            raise RegistryError(ErrorCode.UNSUPPORTED, _INVALID_JSON)
        if ":" in reference:
            return
        tags = store.tags(repository)
        settings = self._registry.repository(repository)
        if reference in tags and settings.is_immutable(reference):
            what = "repository" if settings.mutability == "IMMUTABLE" else "tag"
            raise RegistryError(
                ErrorCode.TAG_INVALID,
                f"The image tag '{reference}' already exists in the '{repository}' repository and "
                f"cannot be overwritten because the {what} is immutable.",
            )
        if list(tags.values()).count(manifest.digest) >= _TAGS_PER_IMAGE and reference not in tags:
            raise RegistryError(
                ErrorCode.DENIED,
                f"The image with digest '{manifest.digest}' has {_TAGS_PER_IMAGE} tags, which is "
                "the limit",
            )

    def missing_references(
        self, repository: str, manifest: Manifest, missing: Sequence[Digest]
    ) -> RegistryError:
        """Return MANIFEST_BLOB_UNKNOWN with the message of the API's exceptions."""
        kind = "Images" if "manifests" in manifest.document else "Layers"
        error = references_not_found(kind, missing, repository, self._registry.account)
        return RegistryError(ErrorCode(self._registry.quirks.missing_layers_code), error.message)

    def after(self, operation: Operation, request: Request, response: Response) -> Response:  # noqa: ARG002 - signature of Policy
        """Send ECR's response to a chunk, and omit digests if the quirk is set."""
        if operation.action is Action.APPEND_UPLOAD and response.status == 202:
            return self._chunk_response(operation.reference, response)
        if operation.action in {Action.FINISH_UPLOAD, Action.CANCEL_UPLOAD}:
            with self._lock:
                self._first_ranges.pop(operation.reference, None)
        if operation.action is Action.PUT_MANIFEST and response.status == 201:
            digest = response.headers["Docker-Content-Digest"]
            self._registry.note_push(operation.repository, digest)
        manifests = {Action.GET_MANIFEST, Action.PUT_MANIFEST}
        if operation.action in manifests and not self._registry.quirks.sends_digests:
            return _without(response, "Docker-Content-Digest")
        return response

    def _check_permission(self, operation: Operation, request: Request) -> None:
        action = _ACTIONS.get(operation.action)
        if action is None:
            return
        if operation.action is Action.GET_BLOB and request.method == "HEAD":
            action = "ecr:BatchCheckLayerAvailability"
        caller = self._authentication.caller(request)
        try:
            self._registry.permit(caller, action, operation.repository)
        except AccessDeniedError as error:
            drops = self._registry.quirks.drops_denied_uploads
            if drops and operation.action is Action.START_UPLOAD:
                raise DroppedConnectionError from error
            raise RegistryError(ErrorCode.DENIED, error.message) from error

    def _import(self, operation: Operation, request: Request) -> None:
        """Import an image with the first GET of its manifest (ECR User Guide, "Pull through")."""
        repository, reference = operation.repository, operation.reference
        prefixes = self._registry.quirks.pull_through
        prefix = next((each for each in prefixes if repository.startswith(each)), None)
        is_pull = operation.action is Action.GET_MANIFEST and request.method == "GET"
        if prefix is None or not is_pull:
            return
        upstream, name = prefixes[prefix], repository.removeprefix(prefix)
        found = upstream.find_manifest(name, reference)
        if found is None or self._registry.store.find_manifest(repository, found.digest):
            return
        self._check_action("ecr:BatchImportUpstreamImage", repository, request)
        if self._registry.find_repository(repository) is None:
            self._check_action("ecr:CreateRepository", repository, request)
            self._registry.open_repository(repository)
        copy_image(upstream, name, found, self._registry.store, repository)
        if ":" not in reference:
            self._registry.store.put_manifest(
                repository, reference, found.content, found.media_type
            )

    def _check_action(self, action: str, repository: str, request: Request) -> None:
        try:
            self._registry.permit(self._authentication.caller(request), action, repository)
        except AccessDeniedError as error:
            raise RegistryError(ErrorCode.DENIED, error.message) from error

    def _check_storage_class(self, operation: Operation) -> None:
        """Return 404 for an archived image (ECR User Guide, "Archiving an image")."""
        found = self._registry.store.find_manifest(operation.repository, operation.reference)
        if found is not None and found.digest in self._registry.quirks.archived:
            raise RegistryError(ErrorCode.MANIFEST_UNKNOWN, "Requested image not found")

    def _check_repository(self, operation: Operation) -> None:
        if self._registry.find_repository(operation.repository) is not None:
            return
        prefix = self._registry.quirks.creates_on_push
        pushes = operation.action in {Action.START_UPLOAD, Action.PUT_MANIFEST}
        if prefix is not None and pushes and operation.repository.startswith(prefix):
            self._registry.open_repository(operation.repository)
            return
        drops = self._registry.quirks.drops_uploads_to_missing_repositories
        if drops and operation.action is Action.START_UPLOAD:
            raise DroppedConnectionError
        error = repository_not_found(operation.repository, self._registry.account)
        raise RegistryError(ErrorCode.NAME_UNKNOWN, error.message)

    def _check_reference(self, operation: Operation, request: Request) -> None:
        """Reject the GET of a blob that no manifest refers to. A HEAD succeeds."""
        blob = self._registry.store.find_blob(operation.repository, operation.reference)
        if blob is None or request.method == "HEAD":
            return
        if not self._registry.refers_to(operation.repository, operation.reference):
            raise RegistryError(
                ErrorCode.BLOB_UNKNOWN,
                "The specified layer is not available because it is not associated with an image. "
                "Unassociated image layers may be cleaned up at any time.",
            )

    def _chunk_response(self, session_id: str, response: Response) -> Response:
        with self._lock:
            first = self._first_ranges.setdefault(session_id, response.headers["Range"])
        return replace(response, status=201, headers={**response.headers, "Range": first})


def _check_page(request: Request) -> None:
    limit = request.parameter("n") or ""
    if limit.isdecimal() and not 0 < int(limit) <= _TAGS_PAGE_LIMIT:
        raise RegistryError(
            ErrorCode.UNSUPPORTED,
            "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have "
            f"value between 1 and {_TAGS_PAGE_LIMIT}'",
        )


def _without(response: Response, name: str) -> Response:
    kept = {key: value for key, value in response.headers.items() if key != name}
    return replace(response, headers=kept)
