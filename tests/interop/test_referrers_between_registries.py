"""What belongs to an image, from and to registries with the referrers API and without."""

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
from tests.interop.conftest import Ends, Registry
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
    """What a client finds that looks for referrers."""
    if isinstance(registry, DockerRegistry):
        reference = f"docker://{registry.host}/{repository}:{fallback_tag(subject)}"
        return set(listed_digests(skopeo_inspect_raw(reference)))
    connection = http.client.HTTPConnection(registry.host, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", f"/v2/{repository}/referrers/{subject}")
        return set(listed_digests(connection.getresponse().read()))


def test_referrers_are_found_at_the_destination(ends: Ends, tmp_path: Path) -> None:
    image = build_image([build_layer(3000, seed=100)])
    push(image, ends.source.host, "vouched/app", "1")
    attached = [sbom(image, b"1"), sbom(image, b"2", note="x")]
    attach(ends.source, "vouched/app", image, attached)
    attach(ends.source, "vouched/app", attached[0], [sbom(attached[0], b"of an SBOM")])
    signed = signatures([signature(ec.generate_private_key(ec.SECP256R1()), image.digest)])
    push(signed, ends.source.host, "vouched/app", cosign_tag(image.digest))

    answer = ends.replicate("vouched/app:1", "vouched/app:1", CopyReferrers="required")

    assert answer["Status"] == "SUCCESS", answer
    assert answer["Data"]["ReferrersCopied"] == "4"
    assert answer["Data"]["ReferrersRefused"] == "0"
    puts = [each.path for each in ends.destination.requests if each.method == "PUT"]
    assert puts[-1].endswith("/manifests/1")
    assert found(ends.destination, "vouched/app", image.digest) == {
        each.digest for each in attached
    }
    assert len(found(ends.destination, "vouched/app", attached[0].digest)) == 1
    for number, each in enumerate((*attached, signed)):
        reference = ends.destination_reference(f"vouched/app@{each.digest}")
        assert skopeo_inspect_raw(reference) == each.manifest
        skopeo_copy(reference, f"dir:{tmp_path / str(number)}")
    tagged = skopeo_inspect_raw(
        ends.destination_reference(f"vouched/app:{cosign_tag(image.digest)}")
    )
    assert tagged == signed.manifest

    again = ends.replicate("vouched/app:1", "vouched/app:1", CopyReferrers="true")

    assert again["Data"]["Changed"] == "false"
    assert {each.method for each in ends.destination.requests} == {"GET"}


def test_referrers_that_others_attached_stay_listed(ends: Ends) -> None:
    image = build_image([build_layer(3000, seed=101)])
    ours, theirs = sbom(image, b"ours"), sbom(image, b"theirs")
    push(image, ends.source.host, "both/app", "1")
    attach(ends.source, "both/app", image, [ours])
    push(image, ends.destination.host, "both/app", "1")
    attach(ends.destination, "both/app", image, [theirs])

    answer = ends.replicate("both/app:1", "both/app:1", CopyReferrers="true")

    assert answer["Data"]["ReferrersCopied"] == "1"
    assert found(ends.destination, "both/app", image.digest) == {ours.digest, theirs.digest}


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)],
    ids=["P-256", "RSA"],
)
@pytest.mark.parametrize("layout", ["tag", "referrer"])
def test_only_a_signed_image_is_copied(ends: Ends, key: PrivateKey, layout: str) -> None:
    image = build_image([build_layer(3000, seed=102)])
    repository = f"signed/{layout}-{type(key).__name__.lower()}"
    push(image, ends.source.host, repository, "1")

    unsigned = ends.replicate(f"{repository}:1", f"{repository}:1", VerifySignatureKey=pem(key))
    signed = [signature(key, image.digest)]
    if layout == "tag":
        push(signatures(signed), ends.source.host, repository, cosign_tag(image.digest))
    else:
        attach(ends.source, repository, image, [signatures(signed, subject=image)])
    answer = ends.replicate(f"{repository}:1", f"{repository}:1", VerifySignatureKey=pem(key))

    assert unsigned["Status"] == "FAILED"
    assert f"no valid signature of {image.digest}" in unsigned["Reason"]
    assert answer["Status"] == "SUCCESS", answer
    assert skopeo_inspect_raw(ends.destination_reference(f"{repository}:1")) == image.manifest


class InStep:
    """Stands before a registry and keeps two writers of a tag in step.

    Both read the tag, to see what is listed and to add to it, before either writes it, and both
    have written it before either is answered.
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
                self._both.wait(20)
        return response

    def _forward(self, request: Request) -> Response:
        connection = http.client.HTTPConnection(self._host, timeout=20)
        with contextlib.closing(connection):
            target = f"{request.path}?{request.query}" if request.query else request.path
            headers = {
                name: value
                for name, value in request.headers.items()
                if name not in {"connection", "content-length", "transfer-encoding"}
            }
            connection.request(request.method, target, read_body(request, _MAX_BODY_BYTES), headers)
            answer = connection.getresponse()
            content = answer.read()
            kept = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in {"connection", "content-length", "transfer-encoding"}
            }
        return Response(answer.status, kept, content)


def test_two_copies_that_write_to_the_same_fallback_tag_lose_nothing() -> None:
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
        server = LoopbackServer(InStep(destination.host, tag))
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
            answers = list(pool.map(run, sources))

        assert [each["Status"] for each in answers] == ["SUCCESS", "SUCCESS"], answers
        assert found(destination, "app", image.digest) == {each.digest for each in attached}
