"""The tags of one repository: the list, page by page, and the digest of each.

OCI distribution specification 1.1, "Listing Tags" (end-8) and "Checking if content exists".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.copy.tag_ports import TagHead
from ecr_image_replicator.errors import ProtocolError, Side
from ecr_image_replicator.model.manifests import has_too_many_values
from ecr_image_replicator.registry.error_bodies import is_web_page
from ecr_image_replicator.registry.error_responses import not_a_registry
from ecr_image_replicator.registry.http.link_header import find_next_link
from ecr_image_replicator.registry.http.urls import InvalidUrlError
from ecr_image_replicator.registry.manifest_responses import (
    announced_digest,
    get_manifest,
    head_manifest,
)

if TYPE_CHECKING:
    from ecr_image_replicator.model.references import ImageReference
    from ecr_image_replicator.registry.client import RegistryClient
    from ecr_image_replicator.registry.http.messages import HttpResponse

MAX_TAGS: Final = 100_000
#: The largest page that every registry takes; ECR rejects more.
_PAGE: Final = 1000
#: A registry that ignores the page size sends everything at once.
_MAX_PAGE_BYTES: Final = 16 * 1024 * 1024
#: Of all pages together: 100,000 of the longest tags need less.
_MAX_LIST_BYTES: Final = 32 * 1024 * 1024
_MAX_PAGES: Final = 2000
#: Pages in a row that bring no tag; some registries filter after they have cut the page.
_MAX_EMPTY_PAGES: Final = 5


class RegistryTags:
    """The tags of a source repository.

    Parameters
    ----------
    reference
        Names the repository; its tag is not used.
    client
        Of the reference's registry.
    """

    def __init__(self, reference: ImageReference, client: RegistryClient) -> None:
        self._reference = reference
        self._client = client

    def list_tags(self) -> tuple[str, ...]:
        """Return every tag, each once, in the registry's order.

        Raises
        ------
        NotFoundError, DeniedError, RegistryError
            The registry rejects the request.
        ProtocolError
            The list is malformed, too long, or repeats itself, or has more than 100,000 tags.
        """
        operation = f"list the tags of {self._reference.name}"
        tags: dict[str, None] = {}
        target: str | None = f"/v2/{self._reference.repository}/tags/list?n={_PAGE}"
        seen: set[str] = set()
        empty_pages = size_bytes = 0
        while target is not None:
            if target in seen or len(seen) >= _MAX_PAGES:
                raise self._invalid("its pages repeat or do not end")
            seen.add(target)
            response = self._client.request(
                "GET",
                target,
                operation,
                headers={"Accept": "application/json"},
                limit_bytes=_MAX_PAGE_BYTES,
            )
            if response.status != 200:
                raise self._client.error(response, operation)
            if is_web_page(response):
                host = response.url.authority
                raise not_a_registry(response, operation, host, self._client.side)
            size_bytes += len(response.content)
            if size_bytes > _MAX_LIST_BYTES:
                raise self._invalid(f"it is longer than {_MAX_LIST_BYTES} bytes")
            before = len(tags)
            tags.update(dict.fromkeys(self._parse(response)))
            if len(tags) > MAX_TAGS:
                raise self._invalid(f"it has more than {MAX_TAGS} tags")
            empty_pages = empty_pages + 1 if len(tags) == before else 0
            if empty_pages > _MAX_EMPTY_PAGES:
                raise self._invalid("its pages repeat or do not end")
            target = self._next_page(response)
        return tuple(tags)

    def find(self, selector: str) -> TagHead | None:
        """Read a tag's digest with a HEAD, which counts against no pull limit.

        A source's denial or absence is confirmed with a GET: some registries reject HEAD alone.

        Parameters
        ----------
        selector
            A tag, or a digest.

        Returns
        -------
        TagHead or None
            None when it does not exist; without a digest when the registry does not tell it.

        Raises
        ------
        DeniedError, RegistryError
            The registry rejects the request.
        """
        operation = f"read {self._reference.manifest_name(selector)}"
        repository = self._reference.repository
        response = head_manifest(self._client, repository, selector, operation)
        is_rejected = response.status in {403, 404} and self._client.side is Side.SOURCE
        if is_rejected or self._client.is_pending_denial(response):
            # only the response to a GET has the reason: an explicit deny is final
            response = get_manifest(self._client, repository, selector, operation)
        if response.status == 200:
            media_type = response.header("content-type").partition(";")[0].strip()
            return TagHead(announced_digest(response), media_type)
        if response.status == 404:
            return None
        if response.status in {401, 403}:
            raise self._client.error(response, operation)
        # whoever copies the tag sends the GET that settles it
        return TagHead(None, "")

    def _parse(self, response: HttpResponse) -> list[str]:
        if has_too_many_values(response.content):
            raise self._invalid("a page has too many JSON values")
        try:
            document: Any = json.loads(response.content)
        except (ValueError, RecursionError):
            document = None
        tags = document.get("tags") if isinstance(document, dict) else ()
        if tags is None:
            return []  # Nexus and others, for a repository without tags
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise self._invalid("it is not a JSON list of tags")
        return tags

    def _next_page(self, response: HttpResponse) -> str | None:
        """Follow Link within the registry only: the next page needs the same sign-in."""
        link = find_next_link(response.header("link"))
        if link is None:
            return None
        try:
            url = response.url.resolve(link)
        except InvalidUrlError as error:
            raise self._invalid(f"a Link with an invalid URL: {error}") from error
        # behind a proxy that ends TLS some registries write http:// and their own host
        is_own = url.origin == response.url.origin or (
            (response.url.scheme, url.scheme) == ("https", "http")
            and url.host == response.url.host
            and url.port in {80, response.url.port}
        )
        if not is_own:
            raise self._invalid("it continues on another host")
        return f"{url.path}?{url.query}" if url.query else url.path

    def _invalid(self, reason: str) -> ProtocolError:
        return ProtocolError(
            f"cannot list the tags of {self._reference.name}: invalid response: {reason}",
            side=self._client.side,
            status=200,
        )
