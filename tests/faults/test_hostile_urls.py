"""URLs of a registry that parsers interpret differently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from local.images import build_image, build_layer, push
from local.registry import BasicAuthentication, RegistryServer
from tests.faults.fault_proxy import Exchange, Fault, FaultProxy, pass_on
from tests.faults.hostile_servers import respond, where

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import ProtocolError
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings


@dataclass
class Scene:
    """A hostile registry, and another stack's destination that requires a password."""

    attacker: FaultProxy
    victim: RegistryServer
    replicator: Replicator

    def copy_from_attacker(self) -> None:
        self._replicate(f"{self.attacker.host}/app:1", f"{self.attacker.host}/copy:1")

    def copy_to_victim(self) -> None:
        self._replicate(
            f"{self.attacker.host}/app:1", f"{self.victim.host}/copy:1", DestCreds="ann:open-sesame"
        )

    def _replicate(self, source: str, destination: str, **properties: str) -> None:
        request = parse_request(
            {
                "SrcImage": source,
                "DestImage": destination,
                "RetryConfigs": {"numAttempts": 1, "baseDelay": 0},
                **properties,
            }
        )
        self.replicator.replicate(request, deadline=Deadline(120), progress=LoggedProgress())


@pytest.fixture
def scene() -> Iterator[Scene]:
    with (
        RegistryServer() as store,
        RegistryServer(authentication=BasicAuthentication({"ann": "open-sesame"})) as victim,
        FaultProxy(store.host) as attacker,
    ):
        push(build_image([build_layer(2000)]), store.host, "app", "1")
        replicator = Replicator(Settings(plain_http=("127.0.0.1",)))
        yield Scene(attacker, victim, replicator)
        replicator.close()


FORMS = [
    "http://{attacker}\\@{victim}{target}",
    "http://{victim}@{attacker}{target}",
    "http://{attacker}\\.{victim}{target}",
    "http://{attacker}%5c@{victim}{target}",
    "http:\\\\{attacker}\\@{victim}{target}",
    "http://{attacker}/\\@{victim}{target}",
    "//{attacker}\\@{victim}{target}",
]


def _location(scene: Scene, form: str, target: str) -> str:
    return form.format(attacker=scene.attacker.host, victim=scene.victim.host, target=target)


def _assert_password_is_sent_only_to_the_victim(scene: Scene) -> None:
    heads: list[bytes] = []

    def record(exchange: Exchange) -> Fault:
        heads.append(exchange.request.head.lower())
        return pass_on

    scene.attacker.reset_exchanges(record)
    scene.copy_to_victim()
    assert heads
    assert not any(b"authorization" in head for head in heads)
    assert scene.victim.store.tags("copy")


@pytest.mark.parametrize("form", FORMS)
def test_a_redirect_cannot_reuse_connections_of_another_host(scene: Scene, form: str) -> None:
    def inject(exchange: Exchange) -> None:
        location = _location(scene, form, exchange.request.target)
        respond(b"", 307, Location=location)(exchange)

    scene.attacker.reset_exchanges(where("/manifests/", "", inject))
    with pytest.raises(ProtocolError, match=r"invalid response|redirects in a row"):
        scene.copy_from_attacker()
    assert scene.victim.requests == ()
    _assert_password_is_sent_only_to_the_victim(scene)


@pytest.mark.parametrize("form", [each for each in FORMS if not each.startswith("//")])
def test_a_realm_cannot_reuse_connections_of_another_host(scene: Scene, form: str) -> None:
    realm = f'Bearer realm="{_location(scene, form, "/token")}"'.replace("\\", "\\\\")
    scene.attacker.reset_exchanges(where("/v2/", "", respond(b"", 401, WWW_Authenticate=realm)))
    with pytest.raises(ProtocolError, match="invalid response"):
        scene.copy_from_attacker()
    assert scene.victim.requests == ()
    _assert_password_is_sent_only_to_the_victim(scene)


@pytest.mark.parametrize("form", FORMS)
def test_an_upload_location_cannot_reuse_connections_of_another_host(
    scene: Scene, form: str
) -> None:
    location = _location(scene, form, "/v2/copy/blobs/uploads/1")
    scene.attacker.reset_exchanges(where("/uploads/", "POST", respond(b"", 202, Location=location)))
    with pytest.raises(ProtocolError, match="invalid response"):
        scene.copy_from_attacker()
    assert scene.victim.requests == ()
    _assert_password_is_sent_only_to_the_victim(scene)
