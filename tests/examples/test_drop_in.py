"""Resources that cdk-ecr-deployment from PyPI synthesizes, deployed with the handler.

The same program is tested with this project's construct as a drop-in replacement.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from local.archives import SavedImage, build_docker_save
from local.images import Index, build_layer
from tests.examples.conftest import Synthesis
from tests.examples.indexes import AMD64, ARM64, digest_of
from tests.examples.resolver import ACCOUNT, Stack
from tests.examples.simulated_cloud import SimulatedCloud

REGION = "us-west-2"
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
#: Each usage of the README and the examples: the source, and the copied platform of its index.
USAGES = {
    "CdkAsset": (f"{HOST}/cdk-hnb659fds-container-assets-{ACCOUNT}-{REGION}", AMD64),
    "DockerHub": ("docker.io/library/nginx:latest", AMD64),
    "OneArchitecture": ("docker.io/library/nginx:latest", ARM64),
    "Retries": ("docker.io/library/nginx:latest", AMD64),
    "Memory": ("docker.io/library/nginx:latest", AMD64),
}


@pytest.fixture(params=["Peer", "Moved"])
def stack(request: pytest.FixtureRequest, synthesis: Synthesis, cloud: SimulatedCloud) -> Stack:
    return Stack(synthesis.deployed(request.param), cloud, region=REGION)


@pytest.mark.parametrize("usage", USAGES)
def test_a_usage_of_the_peer_copies_its_image(
    stack: Stack, cloud: SimulatedCloud, index: Index, usage: str
) -> None:
    source, platform = USAGES[usage]
    properties = find(stack, usage)
    assert source in str(properties["SrcImage"]).replace(
        "docker://nginx", "docker.io/library/nginx"
    )
    cloud.push_image(properties["SrcImage"], index)
    cloud.create_repository(f"{HOST}/{usage.lower()}")

    response = cloud.deploy(properties)

    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["TaggedUri"] == f"{HOST}/{usage.lower()}:latest"
    assert cloud.manifest(response["Data"]["TaggedUri"]).digest == digest_of(index, platform)


@pytest.mark.parametrize("usage", ["UserAndPassword", "SecretsName", "SecretsArn"])
def test_every_form_of_credentials_authenticates(
    stack: Stack, cloud: SimulatedCloud, index: Index, usage: str
) -> None:
    properties = find(stack, usage)
    cloud.push_image(properties["SrcImage"], index)
    cloud.aws.docker_hub.private_repositories.add("javacs3/nginx")
    # a secret name belongs to the function's region, an ARN has its own region
    for region in ("eu-west-1", REGION):
        cloud.create_secret("docker-hub", "username:password", region)
    cloud.create_repository(f"{HOST}/{usage.lower()}")

    response = cloud.deploy(properties)

    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["ImageDigest"] == digest_of(index, AMD64)


@pytest.mark.parametrize(
    ("usage", "source", "destination", "tags"),
    [
        (
            "WholeIndex",
            "public.ecr.aws/nginx/nginx:latest",
            f"{HOST}/wholeindex:manifest",
            "my-nginx",
        ),
        (
            "ToEcrPublic",
            f"{HOST}/my-nginx:latest",
            "public.ecr.aws/your-alias/your-repo:latest",
            "latest",
        ),
    ],
)
def test_an_index_is_copied_with_a_tag_for_each_architecture(
    stack: Stack,
    cloud: SimulatedCloud,
    index: Index,
    usage: str,
    source: str,
    destination: str,
    tags: str,
) -> None:
    cloud.push_image(source, index)
    cloud.create_repository(destination)

    response = cloud.deploy(find(stack, usage))

    assert response["Status"] == "SUCCESS", response
    assert cloud.manifest(destination).content == index.manifest
    repository, _, _ = destination.rpartition(":")
    assert cloud.manifest(f"{repository}:{tags}-amd64").digest == digest_of(index, AMD64)
    assert cloud.manifest(f"{repository}:{tags}-arm64").digest == digest_of(index, ARM64)


@pytest.mark.parametrize("usage", ["Archive", "ArchiveOfOne"])
def test_an_archive_is_copied(
    stack: Stack, cloud: SimulatedCloud, tmp_path: Path, usage: str
) -> None:
    saved = SavedImage([build_layer(50_000, 96, "none")], ["app:1.0"])
    tarball = build_docker_save(tmp_path / "app.tar", [saved])
    cloud.put_object("builds", "app.tar", tarball.read_bytes())
    cloud.create_repository(f"{HOST}/{usage.lower()}")

    response = cloud.deploy(find(stack, usage))

    assert response["Status"] == "SUCCESS", response
    assert (
        cloud.manifest(f"{HOST}/{usage.lower()}:latest").digest == response["Data"]["ImageDigest"]
    )


def test_every_usage_has_the_same_properties_as_with_the_peer(
    synthesis: Synthesis, cloud: SimulatedCloud
) -> None:
    """The values are equal, except that the peer has JSON text where this construct has a map."""
    peer = properties_by_usage(Stack(synthesis.deployed("Peer"), cloud, region=REGION))
    moved = properties_by_usage(Stack(synthesis.deployed("Moved"), cloud, region=REGION))

    assert moved.keys() == peer.keys() >= {*USAGES}
    for usage, properties in peer.items():
        compared = {**moved[usage], **structured(moved[usage])}
        assert compared == {**properties, **structured(properties)}


def test_migration_creates_new_custom_resources(
    synthesis: Synthesis,
) -> None:
    """CloudFormation cannot change a resource's type or ServiceToken."""
    peer, moved = (synthesis.deployed(name)["Resources"] for name in ("Peer", "Moved"))
    both = {each for each in moved if moved[each]["Type"].startswith("Custom::")} & {*peer}
    assert not both


def find(stack: Stack, usage: str) -> dict[str, Any]:
    """Return the properties of a usage's custom resource."""
    return properties_by_usage(stack)[usage]


def properties_by_usage(stack: Stack) -> dict[str, dict[str, Any]]:
    return {
        re.sub(r"(CustomResource|Image)[0-9A-F]{8}$", "", name): {
            key: value for key, value in stack.properties(name).items() if key != "ServiceToken"
        }
        for name in stack.custom_resources
    }


def structured(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the properties that can be maps or JSON text, as maps."""
    texts = {
        name: properties[name] for name in ("ArchImageTags", "RetryConfigs") if name in properties
    }
    return {
        name: json.loads(value) if isinstance(value, str) else value
        for name, value in texts.items()
    }
