"""sha512 digests: in the source reference, and in an index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
from local.images import Image, build_image, build_layer, push
from local.registry import Operation, RegistryServer, SpecificationPolicy
from local.web import Request, Response
from tests.functional.conftest import Function

Start = Callable[..., RegistryServer]
INDEX = "application/vnd.oci.image.index.v1+json"


class Sha256HeaderPolicy(SpecificationPolicy):
    """A registry that sends the sha256 in Docker-Content-Digest for any requested digest."""

    def after(self, operation: Operation, request: Request, response: Response) -> Response:
        if "docker-content-digest" in {name.lower() for name in response.headers}:
            content = response.body if isinstance(response.body, bytes) else b""
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            headers = {**response.headers, "Docker-Content-Digest": digest}
            response = Response(response.status, headers, response.body)
        return super().after(operation, request, response)


def sha512(content: bytes) -> str:
    return f"sha512:{hashlib.sha512(content).hexdigest()}"


def put(registry: RegistryServer, image: Image) -> str:
    """Push an image that can be pulled by its sha512 too, and return that digest."""
    push(image, registry.host, "app", "1")
    digest = sha512(image.manifest)
    registry.store.put_manifest("app", digest, image.manifest, image.media_type)
    return digest


@pytest.mark.parametrize("policy", [SpecificationPolicy, Sha256HeaderPolicy])
def test_a_source_pinned_by_sha512_is_pushed_with_its_sha256(
    function: Function, registries: Start, policy: type[SpecificationPolicy]
) -> None:
    source, destination = registries(policy=policy()), registries()
    image = build_image([build_layer(3000)])
    digest = put(source, image)
    named = f"{source.host}/app@{digest}", f"{destination.host}/copy:1"

    response = function.create(*named)

    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["ImageDigest"] == image.digest
    assert destination.store.tags("copy") == {"1": image.digest}
    assert function.create(*named)["Data"]["Changed"] == "false"


def test_a_manifest_with_another_sha512_is_a_digest_mismatch(
    function: Function, registries: Start
) -> None:
    class OtherManifestPolicy(SpecificationPolicy):
        def after(self, operation: Operation, request: Request, response: Response) -> Response:
            if b"schemaVersion" in (response.body if isinstance(response.body, bytes) else b""):
                response = Response(response.status, response.headers, other.manifest)
            return super().after(operation, request, response)

    source, destination = registries(policy=OtherManifestPolicy()), registries()
    other = build_image([build_layer(10)])
    digest = put(source, build_image([build_layer(3000)]))

    response = function.create(f"{source.host}/app@{digest}", f"{destination.host}/copy:1")

    assert f"the manifest {digest} from {source.host} hashes to sha512:" in response["Reason"]
    assert destination.store.tags("copy") == {}


def test_the_message_for_an_unknown_sha512_has_the_reference_and_the_code(
    function: Function, registries: Start
) -> None:
    source, destination = registries(), registries()
    push(build_image([build_layer(10)]), source.host, "app", "1")

    response = function.create(f"{source.host}/app@{sha512(b'')}", f"{destination.host}/copy:1")

    assert f"{source.host}/app@{sha512(b'')}" in response["Reason"]
    assert "MANIFEST_UNKNOWN" in response["Reason"]


def test_an_index_that_lists_images_by_sha512_is_copied(
    function: Function, registries: Start
) -> None:
    source, destination = registries(), registries()
    images = [
        build_image([build_layer(3000, seed)], platform)
        for seed, platform in enumerate(("linux/amd64", "linux/arm64"))
    ]
    entries = [
        {
            "mediaType": image.media_type,
            "digest": put(source, image),
            "size": len(image.manifest),
            "platform": {"os": "linux", "architecture": architecture},
        }
        for image, architecture in zip(images, ("amd64", "arm64"), strict=True)
    ]
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
    source.store.put_manifest("app", "1", index, INDEX)
    named = f"{source.host}/app:1", f"{destination.host}/copy:1"

    response = function.create(*named, Platforms="ALL")
    one = function.create(named[0], f"{destination.host}/copy:arm64", ImageArch="arm64")

    assert response["Status"] == "SUCCESS", response
    assert destination.store.manifest("copy", "1").content == index
    for image in images:
        assert destination.store.manifest("copy", sha512(image.manifest)).content == image.manifest
    assert one["Data"]["ImageDigest"] == images[1].digest
