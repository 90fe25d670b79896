"""Missing content is pushed again, once, if the destination rejects a manifest for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from local.images import Image, Index, build_image, build_index, build_layer, push
from local.registry import RegistryServer
from tests.faults.fault_kinds import respond_with
from tests.faults.fault_proxy import Exchange, Fault, FaultProxy, Message, pass_on
from tests.replicating import replicate_once

from ecr_image_replicator.errors import DeniedError, MissingContentError
from ecr_image_replicator.outcome import Outcome

SHARED = build_layer(3000, seed=1)


def two_platforms() -> Index:
    return build_index([build_image([SHARED], "linux/amd64"), build_image([SHARED], "linux/arm64")])


class Stage:
    def __init__(self, destination: RegistryServer, proxy: FaultProxy, source: str) -> None:
        self.destination = destination
        self.proxy = proxy
        self._source = source

    def replicate(self) -> Outcome:
        return replicate_once(
            {
                "SrcImage": f"{self._source}/app:1",
                "DestImage": f"{self.proxy.host}/copy:1",
                "Platforms": "all",
                "RetryConfigs": {"baseDelay": 0},
            }
        )

    def on_manifest(self, reference: str, *faults: Fault) -> None:
        """Inject these faults, one each, into the PUTs of a manifest."""
        left = list(faults)

        def choose(exchange: Exchange) -> Fault:
            is_chosen = exchange.request.method == "PUT" and exchange.request.target.endswith(
                f"/manifests/{reference}"
            )
            return left.pop(0) if is_chosen and left else pass_on

        self.proxy.reset_exchanges(choose)

    def puts(self, part: str) -> int:
        return sum(each.method == "PUT" and part in each.target for each in self.proxy.exchanges)


@contextmanager
def stage(content: Image | Index) -> Iterator[Stage]:
    with (
        RegistryServer() as source,
        RegistryServer() as destination,
        FaultProxy(destination.host) as proxy,
    ):
        push(content, source.host, "app", "1")
        yield Stage(destination, proxy, source.host)


def after(act: Callable[[], object]) -> Fault:
    def inject(exchange: Exchange) -> None:
        act()
        pass_on(exchange)

    return inject


def test_only_the_missing_blob_is_pushed_again() -> None:
    image = build_image([SHARED, build_layer(2000, seed=2)])
    lost = SHARED.digest
    with stage(image) as scene:
        scene.on_manifest("1", after(lambda: scene.destination.store.delete_blob("copy", lost)))
        outcome = scene.replicate()
        assert scene.destination.store.tags("copy") == {"1": image.digest}
        assert scene.puts("/manifests/") == 2
        assert scene.puts("/blobs/") == len(image.blobs) + 1
        assert scene.puts(lost.replace(":", "%3A")) == 2
    assert outcome.report.blobs_copied == len(image.blobs)


def test_a_missing_child_manifest_and_its_blob_are_pushed_again() -> None:
    index = two_platforms()
    child = index.images[1]

    with stage(index) as scene:

        def lose() -> None:
            scene.destination.store.delete_manifest("copy", child.digest)
            scene.destination.store.delete_blob("copy", SHARED.digest)

        scene.on_manifest("1", after(lose))
        scene.replicate()
        assert scene.destination.store.tags("copy") == {"1": index.digest}
        assert scene.puts(f"/manifests/{child.digest}") == 3
        assert scene.puts(SHARED.digest.replace(":", "%3A")) == 2
        assert scene.puts(f"/manifests/{index.images[0].digest}") == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "MANIFEST_BLOB_UNKNOWN"),
        (404, "BLOB_UNKNOWN"),
        (404, "MANIFEST_UNKNOWN"),
        (400, "LayersNotFoundException"),
        (404, "ReferencedImagesNotFound"),
    ],
)
def test_all_content_is_pushed_again_if_the_error_has_no_digest(status: int, code: str) -> None:
    image = build_image([SHARED])
    with stage(image) as scene:
        scene.on_manifest("1", respond_with(status, code))
        scene.replicate()
        assert scene.destination.store.tags("copy") == {"1": image.digest}
        assert scene.puts("/blobs/") == 2 * len(image.blobs)


def test_content_that_is_still_missing_is_an_error() -> None:
    image = build_image([SHARED])
    unknown = respond_with(400, "MANIFEST_BLOB_UNKNOWN")
    with stage(image) as scene:
        scene.on_manifest("1", *[unknown] * 9)
        with pytest.raises(MissingContentError, match="missing") as caught:
            scene.replicate()
        assert scene.puts("/manifests/") == 2
        assert scene.destination.store.tags("copy") == {}
    assert (caught.value.status, caught.value.code) == (400, "MANIFEST_BLOB_UNKNOWN")


def test_other_errors_do_not_push_content_again() -> None:
    image = build_image([SHARED])
    with stage(image) as scene:
        scene.on_manifest("1", respond_with(403, "DENIED"))
        with pytest.raises(DeniedError):
            scene.replicate()
        assert scene.puts("/manifests/") == 1
        assert scene.puts("/blobs/") == len(image.blobs)


def test_a_digest_in_the_text_of_an_error_is_found() -> None:
    image = build_image([SHARED, build_layer(2000, seed=2)])

    def inject(exchange: Exchange) -> None:
        exchange.read_body()
        message = f"Layers with digests '[{SHARED.digest}]' required for pushing image not found"
        error = {"errors": [{"code": "BLOB_UNKNOWN", "message": message}]}
        content = json.dumps(error).encode()
        head = f"HTTP/1.1 404 Not Found\r\nContent-Length: {len(content)}\r\n\r\n"
        exchange.send(Message(head.encode(), content))

    with stage(image) as scene:
        scene.on_manifest("1", inject)
        scene.replicate()
        assert scene.puts("/blobs/") == len(image.blobs) + 1
