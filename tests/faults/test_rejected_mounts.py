"""Mounts that a registry rejects, and the requests for later images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from local.images import build_image, build_layer, place
from local.registry import RegistryServer
from tests.faults.fault_kinds import respond_with
from tests.faults.fault_proxy import Exchange, Fault, FaultProxy, pass_on

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings

SHARED = build_layer(3000, seed=1)
#: Requests for two missing blobs: each mount opens an upload session.
MOUNT_REQUESTS = Counter({"mount": 2})
#: Requests for two missing blobs without mounts.
UPLOAD_REQUESTS = Counter({"HEAD": 2, "POST": 2})


class Scene:
    """A warm replicator and a registry that can reject mounts."""

    def __init__(
        self, source: RegistryServer, destination: RegistryServer, proxy: FaultProxy
    ) -> None:
        self._source = source
        self._destination = destination
        self._proxy = proxy
        self.replicator = Replicator(Settings(plain_http=("127.0.0.1",)))
        self._seed = 10

    def copy(self, *, is_rejected: bool = False, with_shared: bool = False) -> Counter[str]:
        """Copy an image with a new config and layer, and return the requests for its blobs.

        Parameters
        ----------
        is_rejected
            The registry rejects mounts during the copy.
        with_shared
            The image also has a layer that earlier images can have.
        """

        def choose(exchange: Exchange) -> Fault:
            is_mount = exchange.request.method == "POST" and "mount=" in exchange.request.target
            return respond_with(403, "DENIED") if is_mount and is_rejected else pass_on

        self._proxy.reset_exchanges(choose)
        self._seed += 1
        layers = [build_layer(2000, seed=self._seed), *([SHARED] if with_shared else [])]
        tag = str(self._seed)
        place(build_image(layers), self._source.store, "app", tag)
        self.replicator.replicate(
            parse_request(
                {
                    "SrcImage": f"{self._source.host}/app:{tag}",
                    "DestImage": f"{self._proxy.host}/copy:{tag}",
                }
            ),
            deadline=Deadline(120),
            progress=LoggedProgress(),
        )
        assert tag in self._destination.store.tags("copy")
        return Counter(
            "mount" if "mount=" in each.target else each.method
            for each in self._proxy.exchanges
            if "/blobs/" in each.target and each.method != "PUT"
        )


@pytest.fixture
def scene() -> Iterator[Scene]:
    with (
        RegistryServer() as source,
        RegistryServer() as destination,
        FaultProxy(destination.host) as proxy,
    ):
        scene = Scene(source, destination, proxy)
        yield scene
        scene.replicator.close()


def test_one_rejected_mount_adds_no_requests_to_later_images(scene: Scene) -> None:
    scene.copy(with_shared=True)
    scene.copy(with_shared=True)  # mounts the shared layer, which shows that mounts are supported
    assert scene.copy() == MOUNT_REQUESTS

    # the streams of the image can mount both blobs before the first is rejected
    rejected = scene.copy(is_rejected=True)
    assert rejected - Counter({"mount": 1}) >= UPLOAD_REQUESTS
    assert rejected <= UPLOAD_REQUESTS + MOUNT_REQUESTS

    assert scene.copy() == MOUNT_REQUESTS


def test_two_rejected_mounts_disable_mounts(scene: Scene) -> None:
    scene.copy(with_shared=True)
    scene.copy(with_shared=True)
    for _ in range(2):
        scene.copy(is_rejected=True)

    assert scene.copy(is_rejected=True) == UPLOAD_REQUESTS
    assert scene.copy() == UPLOAD_REQUESTS


def test_a_rejected_first_mount_disables_mounts(scene: Scene) -> None:
    first = scene.copy(is_rejected=True)
    assert first - Counter({"mount": 1}) >= UPLOAD_REQUESTS

    assert scene.copy(is_rejected=True) == UPLOAD_REQUESTS
