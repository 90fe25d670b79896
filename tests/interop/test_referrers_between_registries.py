"""Referrers of an image, copied between registries with and without the referrers API."""

from __future__ import annotations

import contextlib
import http.client
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from local.images import Content, Image, build_image, build_layer, push
from local.web import LoopbackServer, Request, Response, read_body
from tests.functional.conftest import Function
from tests.functional.cosign_fixtures import (
    PrivateKey,
    cosign_tag,
    fallback_index,
    fallback_tag,
    listed_digests,
    pem,
    sbom,
    signature,
    signatures,
)
from tests.interop.conftest import Registry, RegistryPair
from tests.interop.registries import DockerRegistry, skopeo_copy, skopeo_inspect_raw

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

_MAX_BODY_BYTES = 4 * 1024 * 1024


def attach(registry: Registry, repository: str, subject: Content, referrers: list[Image]) -> None:
    """Push referrers as `oras attach` does: listed by the API, or else under the fallback tag."""
    for each in referrers:
        push(each, registry.host, repository)
    if isinstance(registry, DockerRegistry):
        tag = fallback_tag(subject.digest)
        push(fallback_index(referrers), registry.host, repository, tag)


def found(registry: Registry, repository: str, subject: str) -> set[str]:
    """Return the referrers that a client finds."""
    if isinstance(registry, DockerRegistry):
        reference = f"docker://{registry.host}/{repository}:{fallback_tag(subject)}"
        return set(listed_digests(skopeo_inspect_raw(reference)))
    connection = http.client.HTTPConnection(registry.host, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", f"/v2/{repository}/referrers/{subject}")
        return set(listed_digests(connection.getresponse().read()))


def test_referrers_are_found_at_the_destination(pair: RegistryPair, tmp_path: Path) -> None:
    image = build_image([build_layer(3000, seed=100)])
    push(image, pair.source.host, "signed/app", "1")
    attached = [sbom(image, b"1"), sbom(image, b"2", note="x")]
    attach(pair.source, "signed/app", image, attached)
    attach(pair.source, "signed/app", attached[0], [sbom(attached[0], b"of an SBOM")])
    signed = signatures([signature(ec.generate_private_key(ec.SECP256R1()), image.digest)])
    push(signed, pair.source.host, "signed/app", cosign_tag(image.digest))

    response = pair.replicate("signed/app:1", "signed/app:1", CopyReferrers="required")

    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["ReferrersCopied"] == "4"
    assert response["Data"]["ReferrersRefused"] == "0"
    puts = [each.path for each in pair.destination.requests if each.method == "PUT"]
    assert puts[-1].endswith("/manifests/1")
    assert found(pair.destination, "signed/app", image.digest) == {each.digest for each in attached}
    assert len(found(pair.destination, "signed/app", attached[0].digest)) == 1
    for number, each in enumerate((*attached, signed)):
        reference = pair.destination_reference(f"signed/app@{each.digest}")
        assert skopeo_inspect_raw(reference) == each.manifest
        skopeo_copy(reference, f"dir:{tmp_path / str(number)}")
    tagged = skopeo_inspect_raw(
        pair.destination_reference(f"signed/app:{cosign_tag(image.digest)}")
    )
    assert tagged == signed.manifest

    again = pair.replicate("signed/app:1", "signed/app:1", CopyReferrers="true")

    assert again["Data"]["Changed"] == "false"
    assert {each.method for each in pair.destination.requests} == {"GET"}


def test_referrers_attached_at_the_destination_remain_listed(pair: RegistryPair) -> None:
    image = build_image([build_layer(3000, seed=101)])
    ours, theirs = sbom(image, b"ours"), sbom(image, b"theirs")
    push(image, pair.source.host, "both/app", "1")
    attach(pair.source, "both/app", image, [ours])
    push(image, pair.destination.host, "both/app", "1")
    attach(pair.destination, "both/app", image, [theirs])

    response = pair.replicate("both/app:1", "both/app:1", CopyReferrers="true")

    assert response["Data"]["ReferrersCopied"] == "1"
    assert found(pair.destination, "both/app", image.digest) == {ours.digest, theirs.digest}


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)],
    ids=["P-256", "RSA"],
)
@pytest.mark.parametrize("layout", ["tag", "referrer"])
def test_only_a_signed_image_is_copied(pair: RegistryPair, key: PrivateKey, layout: str) -> None:
    image = build_image([build_layer(3000, seed=102)])
    repository = f"signed/{layout}-{type(key).__name__.lower()}"
    push(image, pair.source.host, repository, "1")

    unsigned = pair.replicate(f"{repository}:1", f"{repository}:1", VerifySignatureKey=pem(key))
    signed = [signature(key, image.digest)]
    if layout == "tag":
        push(signatures(signed), pair.source.host, repository, cosign_tag(image.digest))
    else:
        attach(pair.source, repository, image, [signatures(signed, subject=image)])
    response = pair.replicate(f"{repository}:1", f"{repository}:1", VerifySignatureKey=pem(key))

    assert unsigned["Status"] == "FAILED"
    assert f"no valid signature of {image.digest}" in unsigned["Reason"]
    assert response["Status"] == "SUCCESS", response
    assert skopeo_inspect_raw(pair.destination_reference(f"{repository}:1")) == image.manifest


class LockstepProxy:
    """A reverse proxy that synchronizes two writers of a tag.

    Both read the tag before either of them writes it. Both have written it before either receives
    a response.
    """

    def __init__(self, host: str, tag: str) -> None:
        self._host = host
        self._path = f"/v2/app/manifests/{tag}"
        self._lock = threading.Lock()
        self._both = threading.Barrier(2)
        self._held = {"GET": 4, "PUT": 2}

    def __call__(self, request: Request) -> Response:
        response = self._forward(request)
        if request.path == self._path:
            with self._lock:
                self._held[request.method] -= 1
                is_held = self._held[request.method] >= 0
            if is_held:
                self._both.wait(60)
        return response

    def _forward(self, request: Request) -> Response:
        connection = http.client.HTTPConnection(self._host, timeout=60)
        with contextlib.closing(connection):
            target = f"{request.path}?{request.query}" if request.query else request.path
            headers = {
                name: value
                for name, value in request.headers.items()
                if name not in {"connection", "content-length", "transfer-encoding"}
            }
            connection.request(request.method, target, read_body(request, _MAX_BODY_BYTES), headers)
            response = connection.getresponse()
            content = response.read()
            kept = {
                name: value
                for name, value in response.getheaders()
                if name.lower() not in {"connection", "content-length", "transfer-encoding"}
            }
        return Response(response.status, kept, content)


def test_concurrent_updates_of_a_fallback_tag_keep_all_referrers() -> None:
    image = build_image([build_layer(3000, seed=103)])
    attached = [sbom(image, b"first"), sbom(image, b"second")]
    tag = fallback_tag(image.digest)
    with contextlib.ExitStack() as opened:
        sources = [opened.enter_context(DockerRegistry()) for _ in attached]
        destination = opened.enter_context(DockerRegistry())
        for source, each in zip(sources, attached, strict=True):
            push(image, source.host, "app", "1")
            attach(source, "app", image, [each])
        push(image, destination.host, "app", "1")
        server = LoopbackServer(LockstepProxy(destination.host, tag))
        server.start()
        opened.callback(server.close)

        def run(source: DockerRegistry) -> dict[str, Any]:
            replicator = Replicator(Settings())
            with contextlib.closing(replicator):
                function = Function(ReplicationResource(lambda: replicator))
                return function.create(
                    f"{source.host}/app:1", f"{server.host}/app:1", CopyReferrers="required"
                )

        with ThreadPoolExecutor(2) as pool:
            responses = list(pool.map(run, sources))

        assert [each["Status"] for each in responses] == ["SUCCESS", "SUCCESS"], responses
        assert found(destination, "app", image.digest) == {each.digest for each in attached}
