"""A registry's repository as the destination of an image.

OCI distribution specification 1.1, "Push".
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from ecr_image_replicator.copy.ports import BlobOutcome
from ecr_image_replicator.errors import (
    LostUploadError,
    MissingContentError,
    ProtocolError,
    RegistryError,
)
from ecr_image_replicator.registry.error_responses import (
    LOST_UPLOAD_CODES,
    describe_response,
    error_code,
    missing_content,
)
from ecr_image_replicator.registry.http.urls import InvalidUrlError
from ecr_image_replicator.registry.manifest_responses import (
    ACCEPT_MANIFESTS,
    announced_digest,
    find_manifest,
)
from ecr_image_replicator.registry.referrers import RegistryReferrers
from ecr_image_replicator.registry.source import RegistrySource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ecr_image_replicator.model.digests import ByteReader, Digest, VerifiedStream
    from ecr_image_replicator.model.manifests import Descriptor, Manifest
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.registry.client import RegistryClient
    from ecr_image_replicator.registry.http.messages import HttpResponse
    from ecr_image_replicator.registry.http.urls import Url
    from ecr_image_replicator.registry.rate_limiter import RateLimiter
    from ecr_image_replicator.retries import Backoff

_LOGGER: Final = logging.getLogger(__name__)
#: HEADs spent on finding out whether a registry honours mounts from the repository itself.
_MOUNT_PROBES: Final = 2


class _SelfMount(Enum):
    """Whether a POST with ``mount`` and ``from`` the same repository tells what is there."""

    UNKNOWN = "unknown"
    HONOURED = "honoured"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class RegistryQuirks:
    """What a kind of registry wants otherwise than the specification's common ground.

    Attributes
    ----------
    probes
        Whether blobs are asked for by mounting them from the repository itself. Where not,
        `RegistryDestination.needs_existence_check` says whether each is asked for with a HEAD.
    mounts
        Whether blobs may be mounted from other repositories of the registry.
    manifest_pace, upload_pace
        For manifests, and for the start and end of uploads; None for as fast as it goes.
    """

    probes: bool = True
    mounts: bool = True
    manifest_rate: RateLimiter | None = None
    upload_rate: RateLimiter | None = None


class RegistryDestination:
    """A repository in a registry.

    Whether a blob is there is asked together with opening its upload session: a POST that wants
    it mounted from the repository itself is answered 201 when it is there and 202, with a session,
    when it is not. That is one request where a HEAD and a POST are two. A registry that ignores
    such mounts answers 202 for every blob; it is found out by a HEAD on the first ones, and is
    asked with HEADs from then on.

    Parameters
    ----------
    reference
        What the stack named.
    client
        Of the reference's registry.
    backoff
        For reading what is there.
    manners
        Of its kind.
    """

    def __init__(
        self,
        reference: ImageReference,
        client: RegistryClient,
        backoff: Backoff,
        quirks: RegistryQuirks = RegistryQuirks(),
    ) -> None:
        self._reference = reference
        self._client = client
        self._quirks = quirks
        self._content = RegistrySource(reference, client, backoff)
        self._path = f"/v2/{reference.repository}"
        self._self_mount = _SelfMount.UNKNOWN if quirks.probes else _SelfMount.IGNORED
        self.needs_existence_check = True
        self._probes_left = _MOUNT_PROBES
        self._lock = threading.Lock()

    @property
    def referrers(self) -> RegistryReferrers:
        """What refers to images of this repository."""
        return RegistryReferrers(self._reference, self._client)

    def find_manifest(self, tag: str) -> Manifest | None:
        """Read what the tag points at."""
        return find_manifest(self._client, self._reference, tag)

    def find_digest(self, tag: str) -> Digest | None:
        """Ask with a HEAD; a registry that gives no digest with it is asked with a GET."""
        answer = self._client.request(
            "HEAD", f"{self._path}/manifests/{tag}", headers={"Accept": ACCEPT_MANIFESTS}
        )
        if answer.status == 404:
            return None
        if answer.status == 200 and (digest := announced_digest(answer)) is not None:
            return digest
        manifest = self.find_manifest(tag)
        return manifest.digest if manifest else None

    def repository_missing(self) -> bool:
        """Never: what the specification calls a repository comes with its first content."""
        return False

    def check_tags(self, tags: Mapping[str, Digest | None], content: Digest) -> None:
        """Know of no tag that may not be moved: the specification has no such thing."""

    def remove_tags(self, tags: Sequence[str], content: Digest) -> None:
        """DELETE the tags, never what they point at (specification, "Deleting tags")."""
        for tag in tags:
            if self.find_digest(tag) != content:
                _LOGGER.info("left alone: a tag that points elsewhere", extra={"tag": tag})
                continue
            answer = self._client.request("DELETE", f"{self._path}/manifests/{tag}")
            if answer.status in {400, 405}:
                raise RegistryError(
                    f"the destination registry {self._reference.registry} does not delete tags "
                    f"({describe_response(answer)}), so {self._reference.name}:{tag} stays; "
                    "OnDelete Retain asks nothing of it",
                    side=self._client.side,
                    status=answer.status,
                )
            if answer.status not in {200, 202, 204, 404}:
                raise self._client.error_from_response(
                    answer, "delete the tag", f"{self._reference.name}:{tag}"
                )

    def find_blobs(self, descriptors: Sequence[Descriptor]) -> frozenset[Digest]:  # noqa: ARG002
        """Know of none: `start_upload` asks with the request that it needs anyway."""
        return frozenset()

    def has_blob(self, digest: Digest) -> bool:
        """Ask with a HEAD."""
        return self._client.request("HEAD", f"{self._path}/blobs/{digest}").status == 200

    def start_upload(
        self, descriptor: Descriptor, *, mount_from: str | None
    ) -> RegistryUpload | BlobOutcome:
        """Mount, find or open an upload session for a blob, in one request where possible."""
        is_elsewhere = mount_from is not None and mount_from != self._reference.repository
        if is_elsewhere and self._quirks.mounts:
            return self._post(descriptor, mount_from) or BlobOutcome.MOUNTED
        if self._self_mount is _SelfMount.IGNORED:
            if self.needs_existence_check and self.has_blob(descriptor.digest):
                return BlobOutcome.SKIPPED
            return self.open_upload(descriptor)
        upload = self._post(descriptor, self._reference.repository)
        if upload is None:
            self._self_mount = _SelfMount.HONOURED
            return BlobOutcome.SKIPPED
        if self._takes_a_probe() and self._is_needless(upload, descriptor):
            self._self_mount = _SelfMount.IGNORED
            return BlobOutcome.SKIPPED
        return upload

    def open_upload(self, descriptor: Descriptor) -> RegistryUpload | BlobOutcome:
        """Open an upload session without asking whether the blob is there."""
        return self._post(descriptor, None) or BlobOutcome.SKIPPED

    def start_streamed_upload(self) -> RegistryUpload:
        """Open an upload session; nothing can be mounted that has no digest yet."""
        target = f"{self._path}/blobs/uploads/"
        answer = self._client.request("POST", target, pace=self._quirks.upload_rate)
        return self._session_of(answer, f"a layer for {self._reference.name}")

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[ByteReader]:
        """Read a blob, as from a source."""
        return self._content.open_blob(descriptor)

    def push_manifest(self, manifest: Manifest, reference: str) -> None:
        """PUT the manifest's own bytes; once more when other bytes were stored."""
        stored = self._put_manifest(manifest, reference)
        if not stored.names(manifest.content):
            _LOGGER.warning("the manifest %s was stored as %s", manifest.digest, stored)
            stored = self._put_manifest(manifest, reference)
        if not stored.names(manifest.content):
            raise ProtocolError(
                f"the destination stored {self._name(reference)} as {stored} where "
                f"{manifest.digest} was sent",
                side=self._client.side,
                status=201,
            )

    def _put_manifest(self, manifest: Manifest, reference: str) -> Digest:
        """PUT a manifest and give the digest that it was stored under."""
        answer = self._client.request(
            "PUT",
            f"{self._path}/manifests/{reference}",
            headers={"Content-Type": manifest.media_type},
            body=manifest.content,
            pace=self._quirks.manifest_rate,
        )
        if answer.status in {200, 201, 202}:
            return announced_digest(answer) or manifest.digest
        subject = self._name(reference)
        if (missing := missing_content(answer)) is not None:
            raise MissingContentError(
                f"the destination registry {self._reference.registry} does not take the "
                f"manifest {subject}, as it misses what that refers to "
                f"({describe_response(answer)})",
                side=self._client.side,
                status=answer.status,
                code=error_code(answer),
                digests=missing,
            )
        raise self._client.error_from_response(answer, "take the manifest", subject)

    def _name(self, reference: str) -> str:
        return f"{self._reference.name}{'@' if ':' in reference else ':'}{reference}"

    def close_upload(self, url: Url, digest: Digest, body: VerifiedStream | None = None) -> None:
        """PUT a digest to its upload session, with the whole blob or after it was sent."""
        answer = self._client.request(
            "PUT",
            url.with_parameters([("digest", str(digest))]),
            headers={"Content-Type": "application/octet-stream"},
            body=body,
            pace=self._quirks.upload_rate,
        )
        if answer.status in {201, 204}:
            return
        if body is None and answer.status == 404 and self.has_blob(digest):
            return  # an earlier answer was lost
        raise self._upload_refusal(answer, self._blob_name(digest))

    def append(self, url: Url, body: Iterable[bytes | memoryview]) -> Url:
        """PATCH a stream to an upload session, and give the URL that the session has then.

        One request in chunks of no announced number is what Docker itself sends; registries that
        take anything take this.
        """
        answer = self._client.request(
            "PATCH", url, headers={"Content-Type": "application/octet-stream"}, body=body
        )
        if answer.status not in {201, 202, 204}:
            raise self._upload_refusal(answer, f"a layer for {self._reference.name}")
        return self._location(answer) or url

    def _upload_refusal(self, answer: HttpResponse, subject: str) -> Exception:
        """Say that a session does not take bytes; one that was lost can be opened again."""
        if answer.status == 416 or error_code(answer) in LOST_UPLOAD_CODES:
            return LostUploadError(
                f"the destination {self._reference.registry} lost the upload of {subject} "
                f"({describe_response(answer)})"
            )
        return self._client.error_from_response(answer, "take the blob", subject)

    def cancel(self, url: Url) -> None:
        """DELETE an upload session."""
        self._client.cancel_upload(url)

    def _post(self, descriptor: Descriptor, mount_from: str | None) -> RegistryUpload | None:
        """Open an upload session; None when the blob was mounted instead."""
        target = f"{self._path}/blobs/uploads/"
        if mount_from is not None:
            target += "?" + urlencode({"mount": str(descriptor.digest), "from": mount_from})
        answer = self._client.request("POST", target, pace=self._quirks.upload_rate)
        if answer.status == 201:
            return None
        is_own = mount_from == self._reference.repository
        if mount_from is not None and not is_own and answer.status in {403, 404}:
            # the other repository may not be mounted from; a copy needs less
            return self._post(descriptor, None)
        if answer.status != 202 and mount_from is not None and answer.status not in {401, 403, 404}:
            self._self_mount = _SelfMount.IGNORED  # some refuse what they do not know
            return self._post(descriptor, None)
        return self._session_of(answer, self._blob_name(descriptor.digest))

    def _session_of(self, answer: HttpResponse, subject: str) -> RegistryUpload:
        url = self._location(answer)
        if answer.status != 202 or url is None:
            raise self._client.error_from_response(answer, "take the blob", subject)
        return RegistryUpload(self, url)

    def _location(self, answer: HttpResponse) -> Url | None:
        location = answer.header("location")
        try:
            return answer.url.resolve(location) if location else None
        except InvalidUrlError as error:
            raise ProtocolError(
                f"cannot push to {self._reference.name}: invalid response ({answer.status} with an "
                f"invalid upload URL: {error})",
                side=self._client.side,
                status=answer.status,
            ) from error

    def _takes_a_probe(self) -> bool:
        with self._lock:
            if self._self_mount is not _SelfMount.UNKNOWN or not self._probes_left:
                return False
            self._probes_left -= 1
            return True

    def _is_needless(self, upload: RegistryUpload, descriptor: Descriptor) -> bool:
        """Tell whether a blob is there for which a session was opened; that is cancelled then."""
        try:
            is_there = self.has_blob(descriptor.digest)
        except BaseException:
            upload.cancel()
            raise
        if is_there:
            upload.cancel()
        return is_there

    def _blob_name(self, digest: Digest) -> str:
        return f"{digest} for {self._reference.name}"


class RegistryUpload:
    """An upload session; its URL may hold a secret and is never shown."""

    def __init__(self, destination: RegistryDestination, url: Url) -> None:
        self._destination = destination
        self._url = url

    def finish(self, body: VerifiedStream) -> None:
        """Send the whole blob and close the session."""
        self._destination.close_upload(self._url, body.digest, body)

    def append(self, body: Iterable[bytes | memoryview]) -> None:
        """Send a stream that ends when it ends."""
        self._url = self._destination.append(self._url, body)

    def close_as(self, digest: Digest) -> None:
        """Close the session over what was sent."""
        self._destination.close_upload(self._url, digest)

    def cancel(self) -> None:
        """DELETE the session; one that cannot be is left to expire."""
        self._destination.cancel(self._url)
