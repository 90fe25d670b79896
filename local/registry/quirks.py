"""Quirks of real registries and of the proxies in front of them, each as a named setting.

Each quirk has a public report. docs/local.md lists them with their sources.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from local.registry.errors import ErrorCode, RegistryError
from local.registry.store import Store
from local.web import DroppedConnectionError, Request, Response

#: The path prefix of redirects on the same host.
_MOVED = "/moved"
_FALLBACK_TAG = re.compile(r"(sha256|sha512)-([0-9a-f]{64,128})")
_MANIFEST = re.compile(r"/v2/(?P<repository>.+)/manifests/(?P<reference>[^/]+)")
_UPLOADS = re.compile(r"/v2/.+/blobs/uploads/?")
_UPLOAD = re.compile(r"/v2/.+/blobs/uploads/[^/]+")
_BLOB = re.compile(r"/v2/.+/blobs/[^/]+:[^/]+")
_REFERRERS = re.compile(r"/v2/.+/referrers/[^/]+")
_LOGIN_PAGE = "/users/sign_in"
_HTML = {"Content-Type": "text/html"}
_EXPIRED = "Your authorization token has expired. Reauthenticate and try again."

Application = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Quirks:
    """Differences between a registry and the specification. A status of 0 disables a quirk.

    Attributes
    ----------
    anonymous_status
        Of every request without Authorization but those for ``/v2/`` and the token service,
        without a challenge.
    challenges_at_ping_only
        A 401 for anything but ``/v2/`` has no challenge.
    challenge_status
        In place of a 401; the challenge stays.
    omits_challenges
        No response has a challenge, not even that of ``/v2/``.
    has_login_page
        Requests without Authorization, but those for ``/v2/`` and the token service, are redirected
        to a web page.
    expired_token_status
        Instead of a 401 for an expired token, without a challenge, as ECR
        Public responds.
    missing_tag_status
        Instead of a 404 for a tag.
    gitlab_fallback_tag
        The tag ``sha256-HEX`` is the manifest ``sha256:HEX``, unless it was pushed.
    referrers_status
        Of the referrers API.
    plain_http_locations
        Location and challenges have URLs with ``http://``.
    location_fragment
        Added to every Location.
    upload_redirect, body_redirect, manifest_redirect, token_redirect
        Of the POST for an upload, of the PUT that sends a blob, of the PUT of a manifest, and of
        requests to the token service.
    redirect_origin
        Target of these redirects, ``https://host:port``, by default other paths of the same host.
    mount_status
        Of a mount.
    manifest_by_digest_status
        Of a GET or HEAD for a manifest by its digest.
    delete_tag_status
        Of a DELETE for a tag, which stays.
    head_manifest_status, head_blob_status
        Of a HEAD for a manifest, and for a blob.
    blob_put_status
        Instead of a 201 for a stored blob.
    loses_blobs
        A stored blob is deleted. With `blob_put_status` 202, the blob never exists.
    dropped_blob_responses
        How many times the connection is closed instead of the response to a stored blob.
    rejects_layer_urls
        A manifest with ``urls`` in its layers fails with the 500 of the distribution project.
    requires_foreign_layers
        A manifest is rejected until its foreign layers are there, as any other layer.
    max_body_bytes
        Larger bodies fail with nginx's 413 and a web page; 0 for no limit.
    is_web_server
        Every response is a web page with status 200.
    """

    anonymous_status: int = 0
    challenges_at_ping_only: bool = False
    challenge_status: int = 0
    omits_challenges: bool = False
    has_login_page: bool = False
    expired_token_status: int = 0
    missing_tag_status: int = 0
    gitlab_fallback_tag: bool = False
    referrers_status: int = 0
    plain_http_locations: bool = False
    location_fragment: str = ""
    upload_redirect: int = 0
    body_redirect: int = 0
    manifest_redirect: int = 0
    token_redirect: int = 0
    redirect_origin: str = ""
    mount_status: int = 0
    manifest_by_digest_status: int = 0
    delete_tag_status: int = 0
    head_manifest_status: int = 0
    head_blob_status: int = 0
    blob_put_status: int = 0
    loses_blobs: bool = False
    dropped_blob_responses: int = 0
    rejects_layer_urls: bool = False
    requires_foreign_layers: bool = False
    max_body_bytes: int = 0
    is_web_server: bool = False


class QuirkyApplication:
    """A registry's application with quirks.

    Parameters
    ----------
    application
        The registry without quirks.
    quirks
        Quirks to add.
    store
        The registry's content.
    """

    def __init__(self, application: Application, quirks: Quirks, store: Store) -> None:
        self._application = application
        self._quirks = quirks
        self._store = store
        self._lock = threading.Lock()
        self._drops_left = quirks.dropped_blob_responses

    def __call__(self, request: Request) -> Response:
        """Return the response to a request."""
        if self._quirks.is_web_server:
            return Response(200, _HTML, b"<html><head><title>Welcome</title></head></html>")
        if request.path == _LOGIN_PAGE:
            return Response(200, _HTML, b"<html><head><title>Sign in</title></head></html>")
        is_moved = request.path.startswith(f"{_MOVED}/")
        request = replace(request, path=request.path.removeprefix(_MOVED))
        early = None if is_moved else self._redirect(request)
        early = early or self._reject(request)
        if early is not None:
            return early
        request = self._resolve_fallback_tag(request)
        return self._change(request, self._application(request))

    def _redirect(self, request: Request) -> Response | None:
        quirks = self._quirks
        if quirks.has_login_page and _is_anonymous(request):
            return Response(302, {"Location": _LOGIN_PAGE})
        status = 0
        if request.method == "POST" and _UPLOADS.fullmatch(request.path):
            status = quirks.upload_redirect
        elif request.method == "PUT" and _UPLOAD.fullmatch(request.path):
            status = quirks.body_redirect
        elif request.method == "PUT" and _MANIFEST.fullmatch(request.path):
            status = quirks.manifest_redirect
        elif not request.path.startswith("/v2/"):
            status = quirks.token_redirect
        if not status:
            return None
        path = request.path if quirks.redirect_origin else _MOVED + request.path
        query = f"?{request.query}" if request.query else ""
        location = f"{quirks.redirect_origin}{path}{query}{quirks.location_fragment}"
        return Response(status, {"Location": location, **_HTML}, b"<html>moved</html>")

    def _reject(self, request: Request) -> Response | None:
        """Return an error response, or None to forward the request to the registry."""
        quirks = self._quirks
        status = self._anonymous_status(request) or self._status(request)
        if status:
            return _error(status)
        if quirks.max_body_bytes and (request.content_length or 0) > quirks.max_body_bytes:
            title = "413 Request Entity Too Large"
            page = f"<html><head><title>{title}</title></head><h1>{title}</h1></html>"
            return Response(413, _HTML, page.encode())
        return None

    def _anonymous_status(self, request: Request) -> int:
        return self._quirks.anonymous_status if _is_anonymous(request) else 0

    def _status(self, request: Request) -> int:
        """Return the status of a quirk for a request, 0 for none."""
        quirks, method = self._quirks, request.method
        if _REFERRERS.fullmatch(request.path):
            return quirks.referrers_status
        if method == "POST" and request.parameter("mount"):
            return quirks.mount_status
        if method == "HEAD" and _BLOB.fullmatch(request.path):
            return quirks.head_blob_status
        manifest = _MANIFEST.fullmatch(request.path)
        by_digest = manifest is not None and ":" in manifest["reference"]
        return self._manifest_status(method, by_digest=by_digest) if manifest else 0

    def _manifest_status(self, method: str, *, by_digest: bool) -> int:
        quirks = self._quirks
        if method == "DELETE":
            return 0 if by_digest else quirks.delete_tag_status
        if method == "HEAD" and quirks.head_manifest_status:
            return quirks.head_manifest_status
        return quirks.manifest_by_digest_status if by_digest and method != "PUT" else 0

    def _resolve_fallback_tag(self, request: Request) -> Request:
        found = _MANIFEST.fullmatch(request.path)
        if found is None or not self._quirks.gitlab_fallback_tag or request.method == "PUT":
            return request
        tag = _FALLBACK_TAG.fullmatch(found["reference"])
        if tag is None or self._store.find_manifest(found["repository"], found["reference"]):
            return request
        return replace(request, path=f"/v2/{found['repository']}/manifests/{tag[1]}:{tag[2]}")

    def _change(self, request: Request, response: Response) -> Response:
        quirks = self._quirks
        if response.status == 401:
            response = self._change_challenge(request, response)
        status, headers = response.status, dict(response.headers)
        is_closing = request.method == "PUT" and _UPLOAD.fullmatch(request.path)
        if is_closing and status == 201:
            self._lose(request)
            self._drop()
            status = quirks.blob_put_status or status
        manifest = _MANIFEST.fullmatch(request.path)
        if manifest is not None and status == 404 and ":" not in manifest["reference"]:
            status = quirks.missing_tag_status or status
        if request.method == "PUT" and manifest is not None and quirks.rejects_layer_urls:
            rejection = self._layer_urls_error(manifest["repository"], manifest["reference"])
            if rejection is not None:
                return rejection
        for name in ("Location", "WWW-Authenticate"):
            if name in headers:
                headers[name] = self._written(request, name, headers[name])
        return replace(response, status=status, headers=headers)

    def _change_challenge(self, request: Request, response: Response) -> Response:
        """Change a 401 and its challenge."""
        quirks, headers = self._quirks, dict(response.headers)
        is_ping = request.path.rstrip("/") == "/v2"
        if quirks.expired_token_status and not is_ping and "authorization" in request.headers:
            status = quirks.expired_token_status
            return RegistryError(ErrorCode.DENIED, _EXPIRED, status=status).response()
        if quirks.omits_challenges or (quirks.challenges_at_ping_only and not is_ping):
            headers.pop("WWW-Authenticate", None)
        return replace(response, status=quirks.challenge_status or 401, headers=headers)

    def _written(self, request: Request, name: str, value: str) -> str:
        """Return a header as from a registry behind a proxy that terminates TLS."""
        if self._quirks.plain_http_locations:
            plain = request.origin.replace("https://", "http://")
            value = plain + value if value.startswith("/") else value.replace(request.origin, plain)
        return value + self._quirks.location_fragment if name == "Location" else value

    def _layer_urls_error(self, repository: str, reference: str) -> Response | None:
        stored = self._store.find_manifest(repository, reference)
        layers = stored.document.get("layers", ()) if stored else ()
        rejected = [layer["digest"] for layer in layers if layer.get("urls")]
        if not rejected:
            return None
        self._store.delete_tag(repository, reference)
        errors = [
            {"code": "UNKNOWN", "message": "unknown error"},
            {"code": "UNKNOWN", "message": "unknown error", "detail": "invalid URL on layer"},
            {
                "code": "MANIFEST_BLOB_UNKNOWN",
                "message": "blob unknown to registry",
                "detail": rejected[0],
            },
        ]
        body = json.dumps({"errors": errors}).encode()
        return Response(500, {"Content-Type": "application/json"}, body)

    def _lose(self, request: Request) -> None:
        digest = request.parameter("digest")
        if self._quirks.loses_blobs and digest:
            self._store.delete_blob(request.path[4:].partition("/blobs/")[0], digest)

    def _drop(self) -> None:
        with self._lock:
            drops = self._drops_left > 0
            self._drops_left -= drops
        if drops:
            raise DroppedConnectionError


def _is_anonymous(request: Request) -> bool:
    """Return whether a request for content has no Authorization."""
    is_ping = request.path.rstrip("/") == "/v2"
    is_api = request.path.startswith("/v2/") and not is_ping
    return is_api and "authorization" not in request.headers


def _error(status: int) -> Response:
    code = {401: "UNAUTHORIZED", 403: "DENIED", 404: "MANIFEST_UNKNOWN", 405: "UNSUPPORTED"}
    return RegistryError(code.get(status, "UNKNOWN"), "rejected", status=status).response()
