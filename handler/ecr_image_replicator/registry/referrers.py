"""What refers to an image, in a registry's repository: the referrers API and its fallback tag.

OCI distribution specification 1.1, "Listing Referrers" (end-12), "Referrers Tag Schema" and
"Pushing Manifests with Subject".
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ecr_image_replicator.copy.ports import ReferrersList
from ecr_image_replicator.errors import InvalidManifestError, ProtocolError, RegistryError
from ecr_image_replicator.model.manifests import (
    MAX_MANIFEST_BYTES,
    OCI_INDEX,
    ImageIndex,
    parse_json_object,
    parse_manifest,
)
from ecr_image_replicator.registry.error_responses import error_code
from ecr_image_replicator.registry.http.link_header import find_next_link
from ecr_image_replicator.registry.http.urls import InvalidUrlError, Url
from ecr_image_replicator.registry.manifest_responses import find_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecr_image_replicator.model.digests import Digest
    from ecr_image_replicator.model.manifests import Descriptor, Manifest
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.registry.client import RegistryClient
    from ecr_image_replicator.registry.http.messages import HttpResponse

_LOGGER: Final = logging.getLogger(__name__)
#: How registries answer that do not have the API; the specification's is 404.
_WITHOUT_API: Final = frozenset({400, 404, 405, 406, 501})
_MAX_PAGES: Final = 50
_MAX_REFERRERS: Final = 1000
#: Rounds of reading and writing a fallback tag that others write to as well.
_MAX_MERGES: Final = 8


class RegistryReferrers:
    """The referrers in one repository.

    Whether the registry has the API is learned from its first answer.

    Parameters
    ----------
    reference
        Names the repository.
    client
        Of the reference's registry.
    """

    def __init__(self, reference: ImageReference, client: RegistryClient) -> None:
        self._reference = reference
        self._client = client
        self._path = f"/v2/{reference.repository}"
        self._has_api: bool | None = None

    def list_referrers(self, subject: Digest, artifact_type: str = "") -> ReferrersList:
        """Ask the API, page after page; a registry without it is asked for the fallback tag."""
        listed = self._list_by_api(subject, artifact_type) if self._has_api is not False else None
        is_kept_by_registry = listed is not None
        if listed is None:
            index = self._read_fallback_index(subject)
            listed = list(index.manifests) if index else []
        # a registry may leave the filter to its clients, and the fallback tag has none, nor has
        # everybody who writes it put down the type
        wanted = [d for d in listed if not artifact_type or d.artifact_type in {artifact_type, ""}]
        unique = {descriptor.digest: descriptor for descriptor in wanted}
        return ReferrersList(tuple(unique.values()), is_kept_by_registry)

    def find_tagged(self, tag: str) -> Manifest | None:
        """Read what the tag points at."""
        return find_manifest(self._client, self._reference, tag)

    def add_to_fallback_tag(self, subject: Digest, referrers: Sequence[Descriptor]) -> bool:
        """Merge referrers into the tag's index, and look again until nothing is lost.

        The protocol has no conditional write, so each write is followed by a read: what another
        writer had put there and is gone, or what we put and is gone, is merged in again.
        """
        ours = {each.digest: _listed_fields(each) for each in referrers}
        seen: dict[Digest, Mapping[str, Any]] = {}
        for merges in range(_MAX_MERGES):
            index = self._read_fallback_index(subject)
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
            f"the tag {fallback_tag(subject)} of {self._reference.name}, which lists referrers, "
            f"was overwritten by others {_MAX_MERGES} times in a row; deploy again",
            side=self._client.side,
        )

    def _list_by_api(self, subject: Digest, artifact_type: str) -> list[Descriptor] | None:
        """Read every page; None when the registry does not have the API."""
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        target: str | Url = f"{self._path}/referrers/{subject}{query}"
        descriptors: list[Descriptor] = []
        for page in range(_MAX_PAGES):
            answer = self._client.request(
                "GET", target, headers={"Accept": OCI_INDEX}, limit_bytes=MAX_MANIFEST_BYTES
            )
            if answer.status == 404 and self._has_api:
                return descriptors  # of a subject that it does not know, which others answer empty
            index = self._parse_page(answer, is_first=page == 0)
            if index is None:
                return None
            descriptors += index.manifests
            if len(descriptors) > _MAX_REFERRERS:
                break
            link = find_next_link(answer.header("link"))
            if link is None:
                return descriptors
            target = self._next_page(answer, link)
        raise ProtocolError(
            f"{self._reference.registry} lists more than {_MAX_REFERRERS} referrers of {subject} "
            f"or more than {_MAX_PAGES} pages of them",
            side=self._client.side,
            status=200,
        )

    def _parse_page(self, answer: HttpResponse, *, is_first: bool) -> ImageIndex | None:
        if is_first and not self._has_api and answer.status in _WITHOUT_API:
            # a repository that is not there yet says nothing of what its registry can do
            self._has_api = None if error_code(answer) == "NAME_UNKNOWN" else False
            return None
        if answer.status != 200:
            raise self._client.error_from_response(
                answer, "list", f"what refers to {self._reference.name}"
            )
        try:
            index = parse_manifest(answer.content, OCI_INDEX)
        except InvalidManifestError:
            index = None
        if not isinstance(index, ImageIndex):
            if is_first and not self._has_api:
                self._has_api = False  # a page for people, answered to whatever is not known
                return None
            raise ProtocolError(
                f"{self._reference.registry} answered something else than a list of referrers",
                side=self._client.side,
                status=answer.status,
            )
        self._has_api = True
        return index

    def _next_page(self, answer: HttpResponse, link: str) -> Url:
        """Follow Link within the registry only: the next page needs the same sign-in."""
        try:
            url = answer.url.resolve(link)
        except InvalidUrlError as error:
            raise ProtocolError(
                f"cannot list the referrers in {self._reference.name}: invalid response (a Link "
                f"with an invalid URL: {error})",
                side=self._client.side,
                status=answer.status,
            ) from error
        if url.origin != answer.url.origin:
            raise ProtocolError(
                f"{self._reference.registry} continues its list of referrers on another host",
                side=self._client.side,
                status=answer.status,
            )
        return url

    def _read_fallback_index(self, subject: Digest) -> ImageIndex | None:
        tag = fallback_tag(subject)
        manifest = find_manifest(self._client, self._reference, tag)
        if manifest is None:
            return None
        if not isinstance(manifest, ImageIndex):
            raise InvalidManifestError(
                f"the tag {tag} of {self._reference.name} should list referrers and is an image; "
                "remove or rename it"
            )
        return manifest

    def _push_fallback_index(self, subject: Digest, document: Mapping[str, Any]) -> None:
        tag = fallback_tag(subject)
        answer = self._client.request(
            "PUT",
            f"{self._path}/manifests/{tag}",
            headers={"Content-Type": OCI_INDEX},
            body=json.dumps(document, separators=(",", ":")).encode(),
        )
        if answer.status not in {200, 201, 202}:
            raise self._client.error_from_response(
                answer, "take the list", f"{self._reference.name}:{tag}"
            )
        _LOGGER.info("listed referrers", extra={"subject": str(subject), "tag": tag})


def fallback_tag(subject: Digest) -> str:
    """Name the tag that lists a manifest's referrers where the registry does not."""
    return f"{subject.algorithm[:32]}-{subject.encoded[:64]}"


def _document(index: ImageIndex | None) -> dict[str, Any]:
    """Give a fallback tag's index as a document to be added to; a new one if there is none."""
    if index is None:
        return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    document = parse_json_object(index.content, "the list of referrers")
    return {**document, "mediaType": OCI_INDEX, "manifests": document.get("manifests") or []}


def _listed_fields(descriptor: Descriptor) -> dict[str, Any]:
    """Write a descriptor as a list of referrers has it."""
    fields = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size_bytes,
        "artifactType": descriptor.artifact_type,
        "annotations": dict(descriptor.annotations),
    }
    return {name: value for name, value in fields.items() if value or name == "size"}
