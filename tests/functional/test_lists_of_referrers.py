"""Lists of referrers: the paginated API, and the fallback tag with concurrent writers."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from local.images import Image, build_image, build_layer, push
from local.registry import Action, Operation, RegistryServer, SpecificationPolicy, Store
from local.web import Request, Response
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import (
    OCI_INDEX,
    SBOM_TYPE,
    copy,
    fallback_index,
    fallback_tag,
    index_of,
    listed_digests,
    referrers,
    sbom,
)

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

Start = Callable[..., RegistryServer]


@pytest.fixture
def image() -> Image:
    return build_image([build_layer(2000, seed=5)])


@pytest.mark.parametrize("api", ["source", "destination", "neither"])
def test_the_fallback_tag_is_used_without_the_referrers_api(
    function: Function, registries: Start, image: Image, api: str
) -> None:
    source = registries(referrers_api=api == "source")
    destination = registries(referrers_api=api == "destination")
    push(image, source.host, "team/app", "1")
    attached = sbom(image, note="kept")
    push(attached, source.host, "team/app")
    if api != "source":
        tag = fallback_tag(image.digest)
        push(fallback_index([attached]), source.host, "team/app", tag)

    response = copy(function, source, destination)

    assert response["Status"] == "SUCCESS", response
    assert referrers(destination, image.digest) == {attached.digest}
    tags = destination.store.tags("mirror/app")
    if api == "destination":
        assert tags == {"1": image.digest}
    else:
        assert tags.keys() == {"1", fallback_tag(image.digest)}
        document = destination.store.manifest("mirror/app", fallback_tag(image.digest)).document
        assert document == {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {
                    "mediaType": attached.media_type,
                    "digest": attached.digest,
                    "size": len(attached.manifest),
                    "artifactType": SBOM_TYPE,
                    "annotations": {"note": "kept"},
                }
            ],
        }


def test_existing_entries_of_the_fallback_tag_are_kept(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries(referrers_api=False)
    push(image, source.host, "team/app", "1")
    ours, theirs = sbom(image, b"ours"), sbom(image, b"theirs")
    push(ours, source.host, "team/app")
    tag = fallback_tag(image.digest)
    kept = index_of([theirs], [{"x-note": "as it was"}], annotations={"a": "b"})
    push(kept, destination.host, "mirror/app", tag)

    copy(function, source, destination)

    document = destination.store.manifest("mirror/app", tag).document
    before = json.loads(kept.manifest)
    assert document["manifests"][0] == before["manifests"][0]
    assert [each["digest"] for each in document["manifests"]] == [theirs.digest, ours.digest]
    assert document["annotations"] == {"a": "b"}


class PagedPolicy(SpecificationPolicy):
    """A registry that returns one referrer per page, without a filter."""

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        if operation.action is not Action.LIST_REFERRERS or response.status != 200:
            return response
        assert isinstance(response.body, bytes)
        document = json.loads(response.body)
        page = int(request.parameter("page") or 0)
        more = len(document["manifests"]) > page + 1
        document["manifests"] = document["manifests"][page : page + 1]
        headers = dict(response.headers)
        if more:
            headers["Link"] = f'<{request.path}?page={page + 1}>; rel="next"'
        return replace(response, headers=headers, body=json.dumps(document).encode())


def test_every_page_of_the_referrers_api_is_read(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(policy=PagedPolicy()), registries(policy=PagedPolicy())
    push(image, source.host, "team/app", "1")
    attached = [sbom(image, bytes([number])) for number in range(5)]
    for each in attached:
        push(each, source.host, "team/app")

    assert copy(function, source, destination)["Data"]["ReferrersCopied"] == "5"
    assert copy(function, source, destination)["Data"]["ReferrersCopied"] == "0"


class EndlessPagesPolicy(SpecificationPolicy):
    """A registry that returns a link to a next page on every page."""

    def __init__(self, link: str = "") -> None:
        self.link = link

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        if operation.action is not Action.LIST_REFERRERS:
            return response
        link = self.link or request.path
        return replace(response, headers={**response.headers, "Link": f'<{link}>; rel="next"'})


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("", "50 pages of them"),
        ("http://127.0.0.2:1/v2/", "the next page is on another host"),
        ("ftp://127.0.0.1/", "next page with an invalid URL"),
    ],
)
def test_an_invalid_link_to_the_next_page_is_an_error(
    function: Function, registries: Start, image: Image, link: str, message: str
) -> None:
    source, destination = registries(policy=EndlessPagesPolicy(link)), registries()
    push(image, source.host, "team/app", "1")

    response = copy(function, source, destination)

    assert response["Status"] == "FAILED"
    assert message in response["Reason"]
    assert destination.store.tags("mirror/app") == {}


class ConcurrentWriterPolicy(SpecificationPolicy):
    """A registry whose fallback tag is overwritten after each write of the copy.

    Parameters
    ----------
    times
        The number of times, each with another referrer.
    """

    def __init__(self, subject: Image, times: int) -> None:
        self.tag = fallback_tag(subject.digest)
        self.store: Store | None = None
        self.written: list[Image] = []
        self._pending = [sbom(subject, b"%d" % number) for number in range(times)]

    def after(self, operation: Operation, request: Request, response: Response) -> Response:  # noqa: ARG002 - overrides
        wrote = operation.action is Action.PUT_MANIFEST and operation.reference == self.tag
        if wrote and self._pending and self.store is not None:
            self.written.append(self._pending.pop())
            for each in self.written:
                for blob in each.blobs.values():
                    self.store.put_blob("mirror/app", blob)
                self.store.put_manifest("mirror/app", each.digest, each.manifest, each.media_type)
            index = fallback_index(self.written)
            self.store.put_manifest("mirror/app", self.tag, index.manifest, index.media_type)
        return response


@pytest.mark.parametrize("times", [1, 3])
def test_the_fallback_tag_keeps_the_entries_of_a_concurrent_writer(
    function: Function, registries: Start, image: Image, times: int
) -> None:
    policy = ConcurrentWriterPolicy(image, times)
    source, destination = registries(), registries(referrers_api=False, policy=policy)
    policy.store = destination.store
    push(image, source.host, "team/app", "1")
    ours = sbom(image, b"ours")
    push(ours, source.host, "team/app")

    response = copy(function, source, destination)

    assert response["Status"] == "SUCCESS", response
    assert len(policy.written) == times
    index = destination.store.manifest("mirror/app", policy.tag).content
    assert listed_digests(index) == {ours.digest, *(each.digest for each in policy.written)}


def test_a_fallback_tag_that_is_overwritten_repeatedly_is_an_error(
    function: Function, registries: Start, image: Image
) -> None:
    policy = ConcurrentWriterPolicy(image, 100)
    source, destination = registries(), registries(referrers_api=False, policy=policy)
    policy.store = destination.store
    push(image, source.host, "team/app", "1")
    push(sbom(image, b"ours"), source.host, "team/app")

    response = copy(function, source, destination, CopyReferrers="required")

    assert response["Status"] == "FAILED"
    assert "others overwrote it 8 times" in response["Reason"]
    assert destination.store.tags("mirror/app").get("1") is None


class SynchronizedWritersPolicy(SpecificationPolicy):
    """A registry that makes two writers read a fallback tag at once, then write it at once.

    Each writer reads the tag twice before it writes: to compare the list, and to extend it.
    """

    def __init__(self, subject: Image) -> None:
        self.tag = fallback_tag(subject.digest)
        self._lock = threading.Lock()
        self._both = threading.Barrier(2)
        self._held = {Action.GET_MANIFEST: 4, Action.PUT_MANIFEST: 2}

    def after(self, operation: Operation, request: Request, response: Response) -> Response:  # noqa: ARG002 - overrides
        if operation.reference == self.tag:
            with self._lock:
                self._held[operation.action] -= 1
                is_held = self._held[operation.action] >= 0
            if is_held:
                self._both.wait(60)
        return response


def test_two_concurrent_copies_both_add_to_the_fallback_tag(
    registries: Start, image: Image
) -> None:
    sources = registries(), registries()
    destination = registries(referrers_api=False, policy=SynchronizedWritersPolicy(image))
    attached = [sbom(image, b"first"), sbom(image, b"second")]
    for source, each in zip(sources, attached, strict=True):
        push(image, source.host, "team/app", "1")
        push(each, source.host, "team/app")
    # the image exists, so both copies only write their lists
    push(image, destination.host, "mirror/app", "1")

    def run(source: RegistryServer) -> dict[str, Any]:
        replicator = Replicator(Settings())
        with contextlib.closing(replicator):
            function = Function(ReplicationResource(lambda: replicator))
            return copy(function, source, destination)

    with ThreadPoolExecutor(2) as pool:
        responses = list(pool.map(run, sources))

    assert [response["Data"]["ReferrersCopied"] for response in responses] == ["1", "1"]
    index = destination.store.manifest("mirror/app", fallback_tag(image.digest)).content
    assert listed_digests(index) == {each.digest for each in attached}


class ListResponsePolicy(SpecificationPolicy):
    """A registry that responds to requests for referrers with this status and body."""

    def __init__(self, status: int, body: bytes = b"{}", unaffected: str = "") -> None:
        self.status = status
        self.body = body
        self.unaffected = unaffected

    def after(self, operation: Operation, request: Request, response: Response) -> Response:  # noqa: ARG002 - overrides
        if operation.action is not Action.LIST_REFERRERS or operation.reference == self.unaffected:
            return response
        return Response(self.status, {"Content-Type": "text/html"}, self.body)


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, b"{}"), (405, b"{}"), (406, b""), (501, b""), (200, b"<html>"), (200, b"{}")],
)
def test_the_fallback_tag_is_read_after_any_response_of_a_registry_without_the_api(
    function: Function, registries: Start, image: Image, status: int, body: bytes
) -> None:
    source, destination = registries(policy=ListResponsePolicy(status, body)), registries()
    push(image, source.host, "team/app", "1")
    attached = sbom(image)
    tag = fallback_tag(image.digest)
    push(fallback_index([attached]), source.host, "team/app", tag)

    response = copy(function, source, destination)

    assert response["Status"] == "SUCCESS", response
    assert referrers(destination, image.digest) == {attached.digest}


@pytest.mark.parametrize("status", [403, 418])
def test_a_rejected_list_request_is_an_error(
    function: Function, registries: Start, image: Image, status: int
) -> None:
    source, destination = registries(policy=ListResponsePolicy(status)), registries()
    push(image, source.host, "team/app", "1")

    response = copy(function, source, destination)

    assert response["Status"] == "FAILED"
    assert "cannot list referrers of" in response["Reason"]
    assert destination.store.tags("mirror/app") == {}


def test_a_404_of_a_registry_with_the_referrers_api_means_no_referrers(
    function: Function, registries: Start, image: Image
) -> None:
    # the response for the image shows that the registry has the API
    policy = ListResponsePolicy(404, unaffected=image.digest)
    source, destination = registries(policy=policy), registries()
    push(image, source.host, "team/app", "1")
    attached = sbom(image)
    push(attached, source.host, "team/app")

    response = copy(function, source, destination)

    assert response["Data"]["ReferrersCopied"] == "1", response
    # the fallback tag is read only without the API
    tag = fallback_tag(attached.digest)
    assert not [entry for entry in source.requests if entry.path.endswith(tag)]


def test_a_page_that_is_not_a_list_of_referrers_is_an_error(
    function: Function, registries: Start, image: Image
) -> None:
    class InvalidSecondPagePolicy(PagedPolicy):
        def after(self, operation: Operation, request: Request, response: Response) -> Response:
            response = super().after(operation, request, response)
            return replace(response, body=b"[]") if request.parameter("page") else response

    source, destination = registries(policy=InvalidSecondPagePolicy()), registries()
    push(image, source.host, "team/app", "1")
    for number in range(2):
        push(sbom(image, bytes([number])), source.host, "team/app")

    response = copy(function, source, destination)

    assert response["Status"] == "FAILED"
    assert "not a list of referrers" in response["Reason"]


def test_a_fallback_tag_that_is_the_subject_itself_is_replaced(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(), registries(referrers_api=False)
    push(image, source.host, "team/app", "1")
    attached = sbom(image)
    push(attached, source.host, "team/app")
    tag = fallback_tag(image.digest)
    push(image, destination.host, "mirror/app", tag)

    response = copy(function, source, destination, CopyReferrers="required")

    assert response["Data"]["ReferrersCopied"] == "1", response
    index = destination.store.manifest("mirror/app", tag).content
    assert listed_digests(index) == {attached.digest}
