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
from tests.examples.simulated_cloud import SimulatedCloud
from tests.functional.conftest import Function

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

#: Variables of the developer's proxy, certificates and account, which the tests remove.
_REMOVED_VARIABLES = (
    "ALL_PROXY",
    "AWS_ENDPOINT_URL",
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "CURL_CA_BUNDLE",
)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def scene(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Scene]:
    for name in (*_REMOVED_VARIABLES, "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with LoopbackAws(authority=authority, hub_users={"ann": HubUser("hunter2")}) as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        replicator = Replicator(Settings())
        cloud = SimulatedCloud(aws, Function(ReplicationResource(lambda: replicator)))
        image = build_image([build_layer(20_000, 5)])
        cloud.push_image("nginx:1.27", image)
        cloud.push_image("demo/index:1.0", build_two_platforms(3))
        cloud.create_repository(f"{ECR}/team/app:1.0")
        yield Scene(cloud, image, tmp_path, monkeypatch)
        replicator.close()
        cloud.close()
