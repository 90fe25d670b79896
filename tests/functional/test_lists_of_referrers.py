"""Lists of referrers: the API with its pages, and the fallback tag that others write to."""

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
def test_without_the_referrers_api_the_list_is_under_the_fallback_tag(
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


def test_listed_referrers_stay_listed(function: Function, registries: Start, image: Image) -> None:
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


class Pages(SpecificationPolicy):
    """Returns one referrer a page, without a filter."""

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


def test_every_page_of_the_list_is_read(
    function: Function, registries: Start, image: Image
) -> None:
    source, destination = registries(policy=Pages()), registries(policy=Pages())
    push(image, source.host, "team/app", "1")
    attached = [sbom(image, bytes([number])) for number in range(5)]
    for each in attached:
        push(each, source.host, "team/app")

    assert copy(function, source, destination)["Data"]["ReferrersCopied"] == "5"
    assert copy(function, source, destination)["Data"]["ReferrersCopied"] == "0"


class EndlessPages(SpecificationPolicy):
    """Always has one more page, which is the same."""

    def __init__(self, link: str = "") -> None:
        self.link = link

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        if operation.action is not Action.LIST_REFERRERS:
            return response
        link = self.link or request.path
        return replace(response, headers={**response.headers, "Link": f'<{link}>; rel="next"'})


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        ("", "50 pages of them"),
        ("http://127.0.0.2:1/v2/", "the next page is on another host"),
        ("ftp://127.0.0.1/", "next page with an invalid URL"),
    ],
)
def test_invalid_links_to_pages_are_an_error(
    function: Function, registries: Start, image: Image, link: str, sentence: str
) -> None:
    source, destination = registries(policy=EndlessPages(link)), registries()
    push(image, source.host, "team/app", "1")

    response = copy(function, source, destination)

    assert response["Status"] == "FAILED"
    assert sentence in response["Reason"]
    assert destination.store.tags("mirror/app") == {}


class OtherWriter(SpecificationPolicy):
    """A writer that overwrites the tag between our write and our next read.

    Parameters
    ----------
    times
        How often, each time with another referrer.
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
def test_another_writer_to_the_tag_loses_nothing_and_we_do_not_either(
    function: Function, registries: Start, image: Image, times: int
) -> None:
    policy = OtherWriter(image, times)
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


def test_a_fallback_tag_that_others_overwrite_is_an_error(
    function: Function, registries: Start, image: Image
) -> None:
    policy = OtherWriter(image, 100)
    source, destination = registries(), registries(referrers_api=False, policy=policy)
    policy.store = destination.store
    push(image, source.host, "team/app", "1")
    push(sbom(image, b"ours"), source.host, "team/app")

    response = copy(function, source, destination, CopyReferrers="required")

    assert response["Status"] == "FAILED"
    assert "others overwrote it 8 times" in response["Reason"]
    assert destination.store.tags("mirror/app").get("1") is None


class InStep(SpecificationPolicy):
    """Lets two writers of the tag read it together, and write it together, before either goes on.

    Each reads it twice before it writes: to see what is listed, and to add to it.
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
                self._both.wait(20)
        return response


def test_two_copies_that_add_to_the_same_list_are_both_on_it_in_the_end(
    registries: Start, image: Image
) -> None:
    sources = registries(), registries()
    destination = registries(referrers_api=False, policy=InStep(image))
    attached = [sbom(image, b"first"), sbom(image, b"second")]
    for source, each in zip(sources, attached, strict=True):
        push(image, source.host, "team/app", "1")
        push(each, source.host, "team/app")
    # the image is there, so that both copies have nothing to do but their lists
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


class RespondingOtherwise(SpecificationPolicy):
    """Responds to requests for lists otherwise than specified."""

    def __init__(self, status: int, body: bytes = b"{}", spared: str = "") -> None:
        self.status = status
        self.body = body
        self.spared = spared

    def after(self, operation: Operation, request: Request, response: Response) -> Response:  # noqa: ARG002 - overrides
        if operation.action is not Action.LIST_REFERRERS or operation.reference == self.spared:
            return response
        return Response(self.status, {"Content-Type": "text/html"}, self.body)


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, b"{}"), (405, b"{}"), (406, b""), (501, b""), (200, b"<html>"), (200, b"{}")],
)
def test_the_tag_is_read_whatever_a_registry_without_the_api_responds(
    function: Function, registries: Start, image: Image, status: int, body: bytes
) -> None:
    source, destination = registries(policy=RespondingOtherwise(status, body)), registries()
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
    source, destination = registries(policy=RespondingOtherwise(status)), registries()
    push(image, source.host, "team/app", "1")

    response = copy(function, source, destination)

    assert response["Status"] == "FAILED"
    assert "cannot list referrers of" in response["Reason"]
    assert destination.store.tags("mirror/app") == {}


def test_a_subject_that_a_registry_with_the_api_does_not_know_has_no_referrers(
    function: Function, registries: Start, image: Image
) -> None:
    # its response for the image shows that it has the API
    policy = RespondingOtherwise(404, spared=image.digest)
    source, destination = registries(policy=policy), registries()
    push(image, source.host, "team/app", "1")
    attached = sbom(image)
    push(attached, source.host, "team/app")

    response = copy(function, source, destination)

    assert response["Data"]["ReferrersCopied"] == "1", response
    # without the API the tag would be read
    tag = fallback_tag(attached.digest)
    assert not [entry for entry in source.requests if entry.path.endswith(tag)]


def test_a_page_without_a_list_is_an_error(
    function: Function, registries: Start, image: Image
) -> None:
    class SecondPageIsNone(Pages):
        def after(self, operation: Operation, request: Request, response: Response) -> Response:
            response = super().after(operation, request, response)
            return replace(response, body=b"[]") if request.parameter("page") else response

    source, destination = registries(policy=SecondPageIsNone()), registries()
    push(image, source.host, "team/app", "1")
    for number in range(2):
        push(sbom(image, bytes([number])), source.host, "team/app")

    response = copy(function, source, destination)

    assert response["Status"] == "FAILED"
    assert "not a list of referrers" in response["Reason"]


def test_a_fallback_tag_that_is_the_subject_is_no_list(
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
