"""The referrers of an image in a repository: the referrers API and its fallback tag.

OCI distribution specification 1.1, "Listing Referrers" (end-12), "Referrers Tag Schema" and
"Pushing Manifests with Subject".
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ecr_image_replicator.copy.ports import ReferrersList
from ecr_image_replicator.errors import (
    DeniedError,
    InvalidManifestError,
    ProtocolError,
    RegistryError,
    Term,
)
from ecr_image_replicator.model.manifests import (
    CONFIG_MEDIA_TYPES,
    MAX_MANIFEST_BYTES,
    OCI_INDEX,
    ImageIndex,
    parse_json_object,
    parse_manifest,
)
from ecr_image_replicator.registry.error_bodies import error_code
from ecr_image_replicator.registry.http.link_header import find_next_link
from ecr_image_replicator.registry.manifest_responses import find_manifest, is_success

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.registry.client import RegistryClient
    from ecr_image_replicator.registry.http.messages import HttpResponse
    from ecr_image_replicator.registry.http.urls import Url

_LOGGER: Final = logging.getLogger(__name__)
#: Statuses of registries without the API: 404 by the specification, 401 from Harbor before 2.8.
_WITHOUT_API: Final = frozenset({400, 401, 404, 405, 406, 501})
#: Types of descriptors that say nothing of the artifact: cosign 3 wrote that of the empty config
#: into fallback indexes (sigstore/cosign#5098), other programs wrote that of an image's config.
_UNTYPED: Final = {"", "application/vnd.oci.empty.v1+json", *CONFIG_MEDIA_TYPES}
_MAX_PAGES: Final = 50
_MAX_REFERRERS: Final = 1000
#: Rounds of reading and writing a fallback tag that others write to as well.
_MAX_MERGES: Final = 8


class RegistryReferrers:
    """The referrers in one repository.

    The first response tells whether the registry has the referrers API.

    Parameters
    ----------
    reference
        Names the repository.
    client
        Of the reference's registry.
    forbidden_is_missing
        Whether a 403 for a tag means that the tag does not exist, as Artifactory responds.
    """

    def __init__(
        self, reference: ImageReference, client: RegistryClient, *, forbidden_is_missing: bool
    ) -> None:
        self._reference = reference
        self._client = client
        self._forbidden_is_missing = forbidden_is_missing
        self._path = f"/v2/{reference.repository}"
        self._has_api: bool | None = None

    def list_referrers(self, subject: Digest, artifact_type: str = "") -> ReferrersList:
        """List referrers by the API, page after page, else by the fallback tag."""
        listed = self._list_by_api(subject, artifact_type) if self._has_api is not False else None
        is_kept_by_registry = listed is not None
        if listed is None:
            index = self._read_fallback_index(subject)
            listed = list(index.manifests) if index else []
        # registries need not filter, and not everyone who writes a fallback tag sets the type
        wanted = [
            each
            for each in listed
            if not artifact_type
            or each.artifact_type == artifact_type
            or each.artifact_type in _UNTYPED
        ]
        unique = {descriptor.digest: descriptor for descriptor in wanted}
        return ReferrersList(tuple(unique.values()), is_kept_by_registry)

    def find_tagged(self, tag: str) -> Manifest | None:
        """Read the manifest that the tag points at; None for no such tag."""
        return find_manifest(
            self._client,
            self._reference,
            tag,
            forbidden_is_missing=self._forbidden_is_missing,
        )

    def add_to_fallback_tag(self, subject: Digest, referrers: Sequence[Descriptor]) -> bool:
        """Merge referrers into the tag's index, and read it again until nothing is lost.

        The protocol has no conditional write, so each write is followed by a read: whatever is
        missing then, of ours or of another writer's, is merged again.
        """
        name = f"{self._reference.name}:{fallback_tag(subject)}"
        ours = {each.digest: _listed_fields(each) for each in referrers}
        seen: dict[Digest, Mapping[str, Any]] = {}
        for merges in range(_MAX_MERGES):
            index = self._read_fallback_index(subject)
            if index is None and merges > 1:
                raise RegistryError(
                    f"cannot push the list of referrers {name}: the registry does not store it",
                    side=self._client.side,
                )
            document = _document(index)
            there = {
                descriptor.digest: fields
                for descriptor, fields in zip(
                    index.manifests if index else (), document["manifests"], strict=True
                )
            }
            missing = {d: f for d, f in (seen | ours).items() if d not in there}
            if not missing:
                return merges > 0
            seen |= there
            document["manifests"] = [*document["manifests"], *missing.values()]
            self._push_fallback_index(subject, document)
        raise RegistryError(
            f"cannot push the list of referrers {name}: others overwrote it {_MAX_MERGES} times",
            hint=(Term.RETRY, "."),
            side=self._client.side,
        )

    def _list_by_api(self, subject: Digest, artifact_type: str) -> list[Descriptor] | None:
        """Read every page; None when the registry does not have the API."""
        operation = f"list referrers of {self._reference.name}@{subject}"
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        target: str | Url = f"{self._path}/referrers/{subject}{query}"
        descriptors: list[Descriptor] = []
        for page in range(_MAX_PAGES):
            response = self._get_page(target, operation)
            if response is None or (response.status == 404 and self._has_api):
                # without the API, or of a subject that it does not know, which others list as []
                return descriptors if response else None
            index = self._parse_page(response, operation, is_first=page == 0)
            if index is None:
                return None
            descriptors += index.manifests
            if len(descriptors) > _MAX_REFERRERS:
                break
            link = find_next_link(response.header("link"))
            if link is None:
                return descriptors
            target = self._next_page(response, link, operation)
        raise ProtocolError(
            f"cannot {operation}: invalid response, more than {_MAX_REFERRERS} referrers or "
            f"{_MAX_PAGES} pages of them",
            side=self._client.side,
            status=200,
        )

    def _get_page(self, target: str | Url, operation: str) -> HttpResponse | None:
        """Send the GET for a page; None when the registry does not have the API.

        Harbor before 2.8 responds 401 with whatever authorization; the fallback tag, which is
        read next, tells whether that is at fault.
        """
        try:
            return self._client.request(
                "GET",
                target,
                operation,
                headers={"Accept": OCI_INDEX},
                limit_bytes=MAX_MANIFEST_BYTES,
            )
        except DeniedError as error:
            if self._has_api is not None or error.status != 401:
                raise
            self._has_api = False
            return None

    def _parse_page(
        self, response: HttpResponse, operation: str, *, is_first: bool
    ) -> ImageIndex | None:
        if is_first and not self._has_api and response.status in _WITHOUT_API:
            # a repository that is not there yet says nothing of what its registry can do
            self._has_api = None if error_code(response) == "NAME_UNKNOWN" else False
            return None
        if not is_success(response):
            raise self._client.error(response, operation)
        try:
            index = parse_manifest(response.content, OCI_INDEX)
        except InvalidManifestError:
            index = None
        if not isinstance(index, ImageIndex):
            if is_first and not self._has_api:
                self._has_api = False  # a web page, the response to every unknown path
                return None
            raise ProtocolError(
                f"cannot {operation}: invalid response, not a list of referrers",
                side=self._client.side,
                status=response.status,
            )
        self._has_api = True
        return index

    def _next_page(self, response: HttpResponse, link: str, operation: str) -> Url:
        """Follow Link within the registry only: the next page needs the same authorization."""
        url = self._client.resolve(response, link, "next page")
        if url.origin != response.url.origin:
            raise ProtocolError(
                f"cannot {operation}: invalid response, the next page is on another host",
                side=self._client.side,
                status=response.status,
            )
        return url

    def _read_fallback_index(self, subject: Digest) -> ImageIndex | None:
        """Read the fallback tag's index; None when the tag is missing or something else.

        GitLab returns the subject itself (oras-project/oras-go#1396).
        """
        try:
            manifest = self.find_tagged(fallback_tag(subject))
        except InvalidManifestError:
            return None
        if not isinstance(manifest, ImageIndex) or subject.names(manifest.content):
            return None
        return manifest

    def _push_fallback_index(self, subject: Digest, document: Mapping[str, Any]) -> None:
        tag = fallback_tag(subject)
        operation = f"push the list of referrers {self._reference.name}:{tag}"
        response = self._client.request(
            "PUT",
            f"{self._path}/manifests/{tag}",
            operation,
            headers={"Content-Type": OCI_INDEX},
            body=json.dumps(document, separators=(",", ":")).encode(),
        )
        if not is_success(response):
            raise self._client.error(response, operation)
        _LOGGER.info("listed referrers", extra={"subject": str(subject), "tag": tag})


def fallback_tag(subject: Digest) -> str:
    """Return the tag that lists a manifest's referrers where the registry has no referrers API."""
    return f"{subject.algorithm[:32]}-{subject.encoded[:64]}"


def _document(index: ImageIndex | None) -> dict[str, Any]:
    """Return a fallback tag's index as a document to add to; a new one if there is none."""
    if index is None:
        return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    document = parse_json_object(index.content, "the list of referrers")
    return {**document, "mediaType": OCI_INDEX, "manifests": document.get("manifests") or []}


def _listed_fields(descriptor: Descriptor) -> dict[str, Any]:
    """Return a descriptor as it is in a list of referrers."""
    fields = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size_bytes,
        "artifactType": descriptor.artifact_type,
        "annotations": dict(descriptor.annotations),
    }
    return {name: value for name, value in fields.items() if value or name == "size"}
