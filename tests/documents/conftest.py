from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from local.aws import LoopbackAws
from local.certificates import CertificateAuthority
from local.dockerhub import HubUser
from local.images import build_image, build_layer
from tests.documents.scene import ECR, Scene
from tests.examples.indexes import build_two_platforms
from tests.examples.world import World
from tests.functional.conftest import Function

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

#: A proxy, trust or account of the developer's would lead elsewhere.
_ELSEWHERE = ("ALL_PROXY", "AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN", "CURL_CA_BUNDLE")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def scene(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Scene]:
    for name in (*_ELSEWHERE, "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with LoopbackAws(authority=authority, hub_users={"ann": HubUser("hunter2")}) as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        replicator = Replicator(Settings())
        world = World(aws, Function(ReplicationResource(lambda: replicator)))
        image = build_image([build_layer(20_000, 5)])
        world.provide("nginx:1.27", image)
        world.provide("demo/index:1.0", build_two_platforms(3))
        world.make_repository(f"{ECR}/team/app:1.0")
        yield Scene(world, image, tmp_path, monkeypatch)
        replicator.close()
        world.close()
