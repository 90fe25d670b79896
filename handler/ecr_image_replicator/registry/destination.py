"""A registry's repository as the destination of an image.

OCI distribution specification 1.1, "Push".
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from ecr_image_replicator.copy.ports import BlobOutcome
from ecr_image_replicator.errors import (
    Assignment,
    DeniedError,
    ProtocolError,
    RegistryError,
    Setting,
)
from ecr_image_replicator.model.ecr_hosts import parse_ecr_host
from ecr_image_replicator.registry.blobs import has_blob
from ecr_image_replicator.registry.error_bodies import describe_response, error_code, is_html
from ecr_image_replicator.registry.error_responses import is_immutable_tag, missing_content_error
from ecr_image_replicator.registry.immutable_tags import immutable_tag_error
from ecr_image_replicator.registry.manifest_responses import (
    announced_digest,
    find_manifest,
    head_manifest,
    is_stored,
    is_success,
)
from ecr_image_replicator.registry.mounts import MountSupport, SelfMount
from ecr_image_replicator.registry.quirks import RegistryQuirks
from ecr_image_replicator.registry.referrers import RegistryReferrers
from ecr_image_replicator.registry.source import RegistrySource
from ecr_image_replicator.registry.uploads import RegistryUpload
from ecr_image_replicator.retries import RETRYABLE_STATUSES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from ecr_image_replicator.model.digests import ByteReader, Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.registry.client import RegistryClient
    from ecr_image_replicator.registry.http.messages import HttpResponse
    from ecr_image_replicator.retries import Backoff

_LOGGER: Final = logging.getLogger(__name__)
#: HEADs for an image that test whether the registry honours mounts from the repository itself.
_MOUNT_PROBES: Final = 2
#: A mount that is rejected with any other status is followed by a plain upload at once.
_RETRIED_MOUNTS: Final = RETRYABLE_STATUSES - {500}
_NO_QUIRKS: Final = RegistryQuirks()


class RegistryDestination:
    """A repository in a registry.

    One POST checks whether a blob exists and opens its upload session: it asks to mount the blob
    from the repository itself. 201 means that the blob exists, 202 opens a session. A registry that
    ignores such mounts returns 202 for every blob. To detect that, a HEAD follows each of the first
    two 202 responses for an image; if it finds the blob, a HEAD checks each further blob before its
    POST. If the first blobs of two images are missing, the next image mounts a blob that was
    pushed. The result is kept for the registry; a rejected mount in one image does not change it
    where mounts were honoured before.

    A blob that is not mounted from another repository is looked for in this one, and so are the
    image's further blobs.

    Parameters
    ----------
    reference
        Of the image.
    client
        Of the reference's registry.
    backoff
        For downloads of what is there.
    quirks
        Of the registry's kind.
    mounts
        What is known about the registry's mounts; None for nothing yet.
    """

    def __init__(
        self,
        reference: ImageReference,
        client: RegistryClient,
        backoff: Backoff,
        quirks: RegistryQuirks = _NO_QUIRKS,
        mounts: MountSupport | None = None,
    ) -> None:
        self._reference = reference
        self._client = client
        self._quirks = quirks
        self._content = RegistrySource(reference, client, backoff)
        self._path = f"/v2/{reference.repository}"
        self._mounts = mounts or MountSupport()
        self.needs_existence_check = True
        self._probes_left = _MOUNT_PROBES
        self._is_rejected = False
        self._may_mount = quirks.mounts
        self._lock = threading.Lock()
        self._opened: Descriptor | None = None
        self._forbidden_is_missing = parse_ecr_host(reference.registry) is None

    @property
    def referrers(self) -> RegistryReferrers:
        """The referrers of this repository's images."""
        return self._content.referrers

    def find_manifest(self, tag: str) -> Manifest | None:
        """Read the manifest that the tag points at."""
        return find_manifest(
            self._client,
            self._reference,
            tag,
            forbidden_is_missing=self._forbidden_is_missing,
        )

    def find_digest(self, tag: str) -> Digest | None:
        """Send a HEAD; where that fails or returns no digest, a GET."""
        response = self._head(tag)
        if response.status == 404:
            return None
        if response.status == 401:
            raise self._client.error(response, f"read {self._name(tag)}")
        if is_success(response) and (digest := announced_digest(response)) is not None:
            return digest
        manifest = self.find_manifest(tag)
        return manifest.digest if manifest else None

    def repository_missing(self) -> bool:
        """Return False: in the specification, a repository comes with its first content."""
        return False

    def check_tags(self, tags: Mapping[str, Digest | None], content: Digest) -> None:
        """Accept all: the specification has no immutable tags."""

    def remove_tags(self, tags: Sequence[str], content: Digest) -> None:
        """Delete the tags, never what they point at (specification, "Deleting tags")."""
        for tag in tags:
            found = self._find_existing(tag)
            if found != content:
                problem = "kept a tag that points elsewhere" if found else "the tag does not exist"
                _LOGGER.info(problem, extra={"tag": tag})
                continue
            response = self._client.request(
                "DELETE", f"{self._path}/manifests/{tag}", f"delete {self._name(tag)}"
            )
            is_kept = response.status == 404 and self._find_existing(tag) is not None
            if is_kept or response.status in {400, 405}:
                raise RegistryError(
                    f"cannot delete {self._name(tag)}: the registry does not support deleting "
                    f"tags ({describe_response(response)})",
                    hint=(
                        "Delete the tag in the registry, or set ",
                        Assignment(Setting.ON_DELETE, "Retain"),
                        ".",
                    ),
                    side=self._client.side,
                    status=response.status,
                    code=error_code(response),
                )
            if not is_success(response) and response.status != 404:
                raise self._client.error(response, f"delete {self._name(tag)}")

    def find_blobs(self, descriptors: Sequence[Descriptor]) -> frozenset[Digest]:  # noqa: ARG002
        """Return an empty set: the POST of `start_upload` checks each blob."""
        return frozenset()

    def has_blob(self, digest: Digest) -> bool:
        """Send a HEAD for a blob."""
        return has_blob(self._client, self._reference, digest)

    def start_upload(
        self, descriptor: Descriptor, *, mount_from: str | None
    ) -> RegistryUpload | BlobOutcome:
        """Mount, find or open an upload session for a blob, in one request where possible."""
        own = self._reference.repository
        if mount_from is not None and mount_from != own and self._may_mount:
            mounted = self._mount_elsewhere(descriptor, mount_from)
            if mounted is not None:
                return mounted
        if self._is_rejected or self._find_self_mount() is SelfMount.IGNORED:
            return self._find_or_open(descriptor)
        opened = self._mount(descriptor, own)
        if opened is None:
            self._add_rejection()
            return self._find_or_open(descriptor)
        if isinstance(opened, BlobOutcome):
            self._mounts.state = SelfMount.HONOURED
            return opened
        if self._may_exist() and self._is_needless(opened, descriptor):
            self._mounts.state = SelfMount.IGNORED
            return BlobOutcome.SKIPPED
        self._opened = descriptor
        return opened

    def open_upload(self, descriptor: Descriptor) -> RegistryUpload | BlobOutcome:
        """Open an upload session without looking for the blob."""
        operation = f"push blob {descriptor.digest} to {self._reference.name}"
        response = self._post("", operation)
        if response.status != 202 and is_success(response) and self.has_blob(descriptor.digest):
            return BlobOutcome.SKIPPED
        return self._session_of(response, operation)

    def start_streamed_upload(self) -> RegistryUpload:
        """Open an upload session for a blob whose digest is not known yet."""
        operation = f"push a layer to {self._reference.name}"
        return self._session_of(self._post("", operation), operation)

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[ByteReader]:
        """Read a blob, as from a source."""
        return self._content.open_blob(descriptor)

    def push_manifest(self, manifest: Manifest, reference: str) -> None:
        """Push the manifest's own bytes; once more when the registry stored other bytes."""
        stored = self._put_manifest(manifest, reference)
        if not stored.names(manifest.content):
            _LOGGER.warning("the manifest %s was stored as %s", manifest.digest, stored)
            stored = self._put_manifest(manifest, reference)
        if not stored.names(manifest.content):
            raise ProtocolError(
                f"cannot push {self._name(reference)}: invalid response, {manifest.digest} was "
                f"sent and {stored} was stored",
                side=self._client.side,
                status=201,
            )
        if self._opened is not None:
            self._mounts.add_pushed(self._reference.repository, self._opened)

    def _put_manifest(self, manifest: Manifest, reference: str) -> Digest:
        """Push a manifest and return the digest that it was stored under."""
        name = self._name(reference)
        response = self._client.request(
            "PUT",
            f"{self._path}/manifests/{reference}",
            f"push {name}",
            headers={"Content-Type": manifest.media_type},
            body=manifest.content,
            rate_limiter=self._quirks.manifest_rate,
        )
        if is_stored(response):
            return announced_digest(response) or manifest.digest
        if is_success(response):
            found = self._head(reference)
            if is_success(found) and (announced_digest(found) or not is_html(found)):
                return announced_digest(found) or manifest.digest
            raise ProtocolError(
                f"cannot push {name}: invalid response, the registry accepted the manifest and "
                f"does not have it ({describe_response(response)})",
                side=self._client.side,
                status=response.status,
            )
        if ":" not in reference and is_immutable_tag(response):
            current = self.find_digest(reference)
            if current is not None and current == manifest.digest:
                return current
            raise immutable_tag_error(self._reference, reference, current, manifest.digest)
        missing = missing_content_error(response, f"push {name}", self._client.side)
        raise missing or self._client.error(response, f"push {name}")

    def _name(self, reference: str) -> str:
        return self._reference.manifest_name(reference)

    def _head(self, reference: str) -> HttpResponse:
        return head_manifest(
            self._client, self._reference.repository, reference, f"read {self._name(reference)}"
        )

    def _find_existing(self, tag: str) -> Digest | None:
        """Return what a tag points at, for sure: here a 403 is an error."""
        response = self._head(tag)
        if response.status == 404:
            return None
        if is_success(response) and (digest := announced_digest(response)) is not None:
            return digest
        manifest = find_manifest(self._client, self._reference, tag, forbidden_is_missing=False)
        return manifest.digest if manifest else None

    def _find_or_open(self, descriptor: Descriptor) -> RegistryUpload | BlobOutcome:
        if self.needs_existence_check and self.has_blob(descriptor.digest):
            return BlobOutcome.SKIPPED
        return self.open_upload(descriptor)

    def _mount_elsewhere(
        self, descriptor: Descriptor, repository: str
    ) -> RegistryUpload | BlobOutcome | None:
        """Mount a blob from another repository; None when it must be looked for in this one."""
        try:
            opened = self._mount(descriptor, repository)
        except DeniedError:  # the credentials may have no access to the other repository
            opened = None
        if opened is BlobOutcome.SKIPPED:
            return BlobOutcome.MOUNTED
        self._may_mount = not self.needs_existence_check
        if isinstance(opened, RegistryUpload) and self.needs_existence_check:
            return BlobOutcome.SKIPPED if self._is_needless(opened, descriptor) else opened
        return opened

    def _mount(
        self, descriptor: Descriptor, repository: str
    ) -> RegistryUpload | BlobOutcome | None:
        """Mount a blob; SKIPPED when it is there, a session when it is not, None when rejected.

        Registries reject a mount of an unknown blob with any status (containerd#14086).
        """
        operation = f"push blob {descriptor.digest} to {self._reference.name}"
        query = "?" + urlencode({"mount": str(descriptor.digest), "from": repository})
        response = self._post(query, operation, retry_statuses=_RETRIED_MOUNTS)
        if response.status == 201:
            return BlobOutcome.SKIPPED
        if response.status == 202:
            return self._session_of(response, operation)
        if response.status == 401:
            raise self._client.error(response, operation)
        if is_success(response) and self.has_blob(descriptor.digest):
            return BlobOutcome.SKIPPED
        return None

    def _post(
        self, query: str, operation: str, *, retry_statuses: frozenset[int] = RETRYABLE_STATUSES
    ) -> HttpResponse:
        return self._client.request(
            "POST",
            f"{self._path}/blobs/uploads/{query}",
            operation,
            rate_limiter=self._quirks.upload_rate,
            retry_statuses=retry_statuses,
        )

    def _session_of(self, response: HttpResponse, operation: str) -> RegistryUpload:
        if not is_success(response):
            raise self._client.error(response, operation)
        url = self._client.resolve(response, response.header("location"), "upload location")
        return RegistryUpload(url, self._reference, self._client, self._quirks.upload_rate)

    def _find_self_mount(self) -> SelfMount:
        """Return whether mounts are honoured; mount a blob that was pushed before to find out."""
        if not self._quirks.probes:
            return SelfMount.IGNORED
        if self._mounts.state is not SelfMount.UNKNOWN:
            return self._mounts.state
        with self._lock:  # the other streams of the image wait for the result
            pushed = self._mounts.take_pushed(self._reference.repository)
            if pushed is not None and self._mounts.state is SelfMount.UNKNOWN:
                self._mount_pushed(pushed)
        return self._mounts.state

    def _mount_pushed(self, pushed: Descriptor) -> None:
        opened = self._mount(pushed, self._reference.repository)
        if isinstance(opened, BlobOutcome):
            self._mounts.state = SelfMount.HONOURED
        elif opened is None or self._is_needless(opened, pushed):
            self._mounts.state = SelfMount.IGNORED
        else:
            opened.cancel()  # the blob was deleted since

    def _add_rejection(self) -> None:
        """Mount no further blob of this image."""
        with self._lock:
            if not self._is_rejected:
                self._is_rejected = True
                self._mounts.add_rejection()

    def _may_exist(self) -> bool:
        """Tell whether a HEAD must look for a blob whose mount opened a session."""
        with self._lock:
            if self._mounts.state is not SelfMount.UNKNOWN:  # another stream found out meanwhile
                return self._mounts.state is SelfMount.IGNORED
            if not self._probes_left:
                return False
            self._probes_left -= 1
            self._mounts.add_probe(self._reference.repository)
            return True

    def _is_needless(self, upload: RegistryUpload, descriptor: Descriptor) -> bool:
        """Tell whether the blob of an open session is there, and then cancel the session."""
        try:
            is_there = self.has_blob(descriptor.digest)
        except BaseException:
            upload.cancel()
            raise
        if is_there:
            upload.cancel()
        return is_there
