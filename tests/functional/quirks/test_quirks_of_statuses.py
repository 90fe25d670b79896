"""Statuses that differ from the specification. docs/compatibility.md has the reports."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from local.images import Image, build_image, build_layer, place
from local.registry import (
    Action,
    Operation,
    Quirks,
    RegistryServer,
    SpecificationPolicy,
)
from local.registry.errors import RegistryError
from local.registry.store import Manifest, Store
from local.web import Request, Response
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import (
    copy,
    pem,
)
from tests.functional.quirks.replicating import Start, check_copy, replicate

KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("status", [400, 403, 405, 410, 422])
def test_the_status_for_a_missing_tag_at_the_destination_does_not_stop_the_copy(
    function: Function, registries: Start, source: RegistryServer, image: Image, status: int
) -> None:
    destination = registries(quirks=Quirks(missing_tag_status=status))

    response = replicate(function, source, destination, CopyReferrers="true")

    check_copy(response, destination, image)


def test_a_403_for_cosigns_tags_means_no_signatures(
    function: Function, registries: Start, image: Image
) -> None:
    source = registries(quirks=Quirks(missing_tag_status=403))
    place(image, source.store, "team/app", "1")
    destination = registries()

    check_copy(copy(function, source, destination), destination, image)


def test_signature_verification_fails_after_a_403_for_the_signature_tag(
    function: Function, registries: Start, image: Image
) -> None:
    source = registries(quirks=Quirks(missing_tag_status=403))
    place(image, source.store, "team/app", "1")
    destination = registries()

    response = replicate(function, source, destination, VerifySignatureKey=pem(KEY))

    assert response["Status"] == "FAILED"
    assert "no valid signature" in response["Reason"]
    assert destination.store.tags("mirror/app") == {}


@pytest.mark.parametrize("status", [400, 403, 404, 405, 416, 500, 501])
def test_a_blob_is_uploaded_after_a_rejected_mount(
    function: Function, registries: Start, source: RegistryServer, image: Image, status: int
) -> None:
    destination = registries(quirks=Quirks(mount_status=status))

    response = replicate(function, source, destination)
    again = replicate(function, source, destination, DestTags="2")

    check_copy(response, destination, image)
    assert again["Data"]["BlobsCopied"] == "0"


@pytest.mark.parametrize("status", [404, 500, 501])
def test_a_blob_is_uploaded_after_a_rejected_mount_from_another_repository(
    function: Function, registries: Start, image: Image, status: int
) -> None:
    registry = registries(quirks=Quirks(mount_status=status))
    place(image, registry.store, "team/app", "1")

    check_copy(replicate(function, registry, registry), registry, image)


@pytest.mark.parametrize("status", [200, 202, 204, 206])
def test_any_2xx_status_for_a_blob_is_a_success(
    function: Function, registries: Start, source: RegistryServer, image: Image, status: int
) -> None:
    destination = registries(quirks=Quirks(blob_put_status=status))

    response = replicate(function, source, destination)

    check_copy(response, destination, image)
    assert len([each for each in destination.requests if each.method == "PUT"]) == 4


def test_a_2xx_response_with_content_type_html_is_a_success(
    function: Function, registries: Start, source: RegistryServer, image: Image
) -> None:
    destination = registries(policy=HtmlPolicy())

    response = replicate(function, source, destination)

    check_copy(response, destination, image)
    assert not [each for each in destination.requests if each.method == "HEAD"][2:]


class GetPolicy(SpecificationPolicy):
    """A registry that responds to each GET of a manifest or blob with another 2xx status."""

    def __init__(self, status: int) -> None:
        self._status = status

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        response = super().after(operation, request, response)
        is_content = request.method == "GET" and response.status == 200
        return replace(response, status=self._status) if is_content else response


@pytest.mark.parametrize("status", [201, 203, 207, 299])
def test_content_is_read_with_any_2xx_status(
    function: Function, registries: Start, image: Image, status: int
) -> None:
    source = registries(policy=GetPolicy(status))
    place(image, source.store, "team/app", "1")
    destination = registries()

    check_copy(replicate(function, source, destination), destination, image)


@pytest.mark.parametrize("status", [202, 204, 205])
def test_a_2xx_status_without_content_is_an_error(
    function: Function, registries: Start, image: Image, status: int
) -> None:
    source = registries(policy=GetPolicy(status))
    place(image, source.store, "team/app", "1")

    response = replicate(function, source, registries())

    assert response["Status"] == "FAILED"
    assert f"invalid response ({status} " in response["Reason"]


class HtmlPolicy(SpecificationPolicy):
    """A registry that sends empty bodies as text/html, as CherryPy does in zuul-registry."""

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        response = super().after(operation, request, response)
        if response.body and request.method != "HEAD":
            return response
        return replace(response, headers={**response.headers, "Content-Type": "text/html"})


def test_a_blob_that_was_accepted_and_not_stored_is_an_error(
    function: Function, registries: Start, source: RegistryServer
) -> None:
    destination = registries(quirks=Quirks(blob_put_status=202, loses_blobs=True))

    response = replicate(function, source, destination, RetryConfigs={"baseDelay": 0})

    assert response["Status"] == "FAILED"
    assert "accepted the blob and does not have it (202 Accepted)" in response["Reason"]
    assert destination.store.tags("mirror/app") == {}


@pytest.mark.parametrize("status", [400, 403, 404, 405, 500, 501, 503])
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_failed_head_of_a_manifest_is_followed_by_a_get(
    function: Function, registries: Start, image: Image, side: str, status: int
) -> None:
    quirky, plain = registries(quirks=Quirks(head_manifest_status=status)), registries()
    source, destination = (quirky, plain) if side == "source" else (plain, quirky)
    place(image, source.store, "team/app", "1")

    check_copy(replicate(function, source, destination), destination, image)

    heads = [
        each for each in quirky.requests if each.method == "HEAD" and "/manifests/" in each.path
    ]
    assert len(heads) <= 1


@pytest.mark.parametrize("status", [400, 403, 405, 500, 501])
def test_a_failed_head_of_a_blob_is_followed_by_a_get(
    function: Function, registries: Start, source: RegistryServer, image: Image, status: int
) -> None:
    destination = registries(quirks=Quirks(head_blob_status=status, blob_put_status=202))

    response = replicate(function, source, destination)

    check_copy(response, destination, image)


@pytest.mark.parametrize("status", [400, 404, 500, 501])
def test_a_manifest_is_read_by_tag_if_the_registry_cannot_return_it_by_digest(
    function: Function, registries: Start, image: Image, status: int
) -> None:
    source = registries(quirks=Quirks(manifest_by_digest_status=status))
    place(image, source.store, "team/app", "1")
    destination = registries()

    check_copy(replicate(function, source, destination), destination, image)

    by_digest = [each for each in source.requests if "/manifests/sha256:" in each.path]
    assert len(by_digest) == 1


def test_deletion_fails_if_the_registry_keeps_the_tag(
    function: Function, registries: Start, source: RegistryServer, image: Image
) -> None:
    destination = registries(quirks=Quirks(delete_tag_status=404))
    response = replicate(function, source, destination, OnDelete="Untag")
    check_copy(response, destination, image)

    deleted = function.delete(
        response["PhysicalResourceId"], f"{destination.host}/mirror/app:1", OnDelete="Untag"
    )

    assert deleted["Status"] == "FAILED"
    assert "does not support deleting tags (404 Not Found" in deleted["Reason"]
    assert destination.store.tags("mirror/app") == {"1": image.digest}


class SchemaOnePolicy(SpecificationPolicy):
    """A registry whose tag is a manifest of Docker's schema 1 until it is pushed."""

    def __init__(self) -> None:
        self.is_pushed = False

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        response = super().after(operation, request, response)
        if "/manifests/1" not in request.path or self.is_pushed:
            return response
        if request.method == "PUT":
            self.is_pushed = True
            return response
        content = b'{"schemaVersion": 1, "name": "mirror/app", "tag": "1", "fsLayers": []}'
        headers = {
            "Content-Type": "application/vnd.docker.distribution.manifest.v1+prettyjws",
            "Docker-Content-Digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
        }
        return Response(200, headers, content)


def test_a_tag_with_an_unsupported_manifest_is_replaced(
    function: Function, registries: Start, source: RegistryServer, image: Image
) -> None:
    policy = SchemaOnePolicy()
    destination = registries(policy=policy)

    response = replicate(function, source, destination)

    assert policy.is_pushed
    check_copy(response, destination, image)


def test_a_lost_response_to_a_stored_blob_is_followed_by_a_head(
    function: Function, registries: Start, source: RegistryServer, image: Image
) -> None:
    destination = registries(quirks=Quirks(dropped_blob_responses=2))

    response = replicate(function, source, destination)

    check_copy(response, destination, image)
    puts = [each for each in destination.requests if each.method == "PUT"]
    assert len([each for each in puts if "/blobs/" in each.path]) <= 3
    assert response["Data"]["BlobsCopied"] == "3"


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (412, "PRECONDITION", "Failed to process request due to 'app:1' configured as immutable."),
        (400, "TAG_INVALID", "cannot be overwritten because the repository is immutable."),
        (403, "TAG_IMMUTABLE", "no"),
    ],
)
def test_the_message_for_an_immutable_tag_names_both_digests(
    function: Function,
    registries: Start,
    source: RegistryServer,
    image: Image,
    status: int,
    code: str,
    message: str,
) -> None:
    destination = registries(policy=ImmutablePolicy(status, code, message))
    before = build_image([build_layer(900, seed=9)])
    place(before, destination.store, "mirror/app", "1")

    response = replicate(function, source, destination)

    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith(
        f"cannot push {destination.host}/mirror/app:1: the tag is immutable and points at "
        f"{before.digest}, not at {image.digest}. "
    )


class ImmutablePolicy(SpecificationPolicy):
    """A registry with immutable tags, such as Harbor and ECR."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__()
        self.status, self.code, self.message = status, code, message

    def before_manifest(
        self,
        repository: str,  # noqa: ARG002 - all are rejected
        reference: str,  # noqa: ARG002
        manifest: Manifest,  # noqa: ARG002
        store: Store,  # noqa: ARG002
    ) -> None:
        raise RegistryError(self.code, self.message, status=self.status)


class FirstUploadPolicy(SpecificationPolicy):
    """A registry that responds to the first stored blob with another status, as proxies do."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._lock = threading.Lock()
        self._responses_left = 1

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        response = super().after(operation, request, response)
        if operation.action is not Action.FINISH_UPLOAD:
            return response
        with self._lock:
            is_first = self._responses_left > 0
            self._responses_left -= 1
        return Response(self._status, {"Content-Type": "text/html"}) if is_first else response


@pytest.mark.parametrize("status", [404, 410, 416, 500, 502, 503, 504, 520, 522, 524])
def test_a_blob_is_sent_again_after_a_status_of_a_proxy_or_a_lost_session(
    function: Function, registries: Start, source: RegistryServer, image: Image, status: int
) -> None:
    destination = registries(policy=FirstUploadPolicy(status))

    response = replicate(function, source, destination, RetryConfigs={"baseDelay": 0})

    check_copy(response, destination, image)
    assert response["Data"]["BlobsCopied"] == str(len(image.blobs))
