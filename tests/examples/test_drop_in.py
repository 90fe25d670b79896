"""The real cdk-ecr-deployment from PyPI: what it synthesizes goes into our handler and replicates.

And once more with our construct in its place, in the same program.
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
from tests.examples.world import World

REGION = "us-west-2"
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
#: Each usage of the README and the examples: the source, and what its tag then has of an index.
USAGES = {
    "CdkAsset": (f"{HOST}/cdk-hnb659fds-container-assets-{ACCOUNT}-{REGION}", AMD64),
    "DockerHub": ("docker.io/library/nginx:latest", AMD64),
    "OneArchitecture": ("docker.io/library/nginx:latest", ARM64),
    "Retries": ("docker.io/library/nginx:latest", AMD64),
    "Memory": ("docker.io/library/nginx:latest", AMD64),
}


@pytest.fixture(params=["Peer", "Moved"])
def stack(request: pytest.FixtureRequest, synthesis: Synthesis, world: World) -> Stack:
    return Stack(synthesis.deployed(request.param), world, region=REGION)


@pytest.mark.parametrize("usage", USAGES)
def test_a_usage_of_the_peers_replicates(
    stack: Stack, world: World, index: Index, usage: str
) -> None:
    source, platform = USAGES[usage]
    properties = find(stack, usage)
    assert source in str(properties["SrcImage"]).replace(
        "docker://nginx", "docker.io/library/nginx"
    )
    world.provide(properties["SrcImage"], index)
    world.make_repository(f"{HOST}/{usage.lower()}")

    answer = world.deploy(properties)

    assert answer["Status"] == "SUCCESS", answer
    assert answer["Data"]["TaggedUri"] == f"{HOST}/{usage.lower()}:latest"
    assert world.manifest(answer["Data"]["TaggedUri"]).digest == digest_of(index, platform)


@pytest.mark.parametrize("usage", ["UserAndPassword", "SecretsName", "SecretsArn"])
def test_every_form_of_credentials_signs_in(
    stack: Stack, world: World, index: Index, usage: str
) -> None:
    properties = find(stack, usage)
    world.provide(properties["SrcImage"], index)
    world.aws.docker_hub.private_repositories.add("javacs3/nginx")
    # a name is looked for in the function's region, an ARN in its own
    for region in ("eu-west-1", REGION):
        world.keep_secret("docker-hub", "username:password", region)
    world.make_repository(f"{HOST}/{usage.lower()}")

    answer = world.deploy(properties)

    assert answer["Status"] == "SUCCESS", answer
    assert answer["Data"]["ImageDigest"] == digest_of(index, AMD64)


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
    world: World,
    index: Index,
    usage: str,
    source: str,
    destination: str,
    tags: str,
) -> None:
    world.provide(source, index)
    world.make_repository(destination)

    answer = world.deploy(find(stack, usage))

    assert answer["Status"] == "SUCCESS", answer
    assert world.manifest(destination).content == index.manifest
    repository, _, _ = destination.rpartition(":")
    assert world.manifest(f"{repository}:{tags}-amd64").digest == digest_of(index, AMD64)
    assert world.manifest(f"{repository}:{tags}-arm64").digest == digest_of(index, ARM64)


@pytest.mark.parametrize("usage", ["Archive", "ArchiveOfOne"])
def test_an_archive_is_read(stack: Stack, world: World, tmp_path: Path, usage: str) -> None:
    saved = SavedImage([build_layer(50_000, 96, "none")], ["app:1.0"])
    tarball = build_docker_save(tmp_path / "app.tar", [saved])
    world.keep_object("builds", "app.tar", tarball.read_bytes())
    world.make_repository(f"{HOST}/{usage.lower()}")

    answer = world.deploy(find(stack, usage))

    assert answer["Status"] == "SUCCESS", answer
    assert world.manifest(f"{HOST}/{usage.lower()}:latest").digest == answer["Data"]["ImageDigest"]


def test_every_usage_has_the_properties_of_the_peer(synthesis: Synthesis, world: World) -> None:
    """Ours gives the same, but for JSON within text where CloudFormation takes a map."""
    peer = properties_by_usage(Stack(synthesis.deployed("Peer"), world, region=REGION))
    moved = properties_by_usage(Stack(synthesis.deployed("Moved"), world, region=REGION))

    assert moved.keys() == peer.keys() >= {*USAGES}
    for usage, properties in peer.items():
        compared = {**moved[usage], **structured(moved[usage])}
        assert compared == {**properties, **structured(properties)}


def test_moving_here_makes_new_resources_rather_than_changing_the_peers(
    synthesis: Synthesis,
) -> None:
    """CloudFormation changes neither a resource's type nor its ServiceToken."""
    peer, moved = (synthesis.deployed(name)["Resources"] for name in ("Peer", "Moved"))
    both = {each for each in moved if moved[each]["Type"].startswith("Custom::")} & {*peer}
    assert not both


def find(stack: Stack, usage: str) -> dict[str, Any]:
    """The properties of a usage's custom resource."""
    return properties_by_usage(stack)[usage]


def properties_by_usage(stack: Stack) -> dict[str, dict[str, Any]]:
    return {
        re.sub(r"(CustomResource|Image)[0-9A-F]{8}$", "", name): {
            key: value for key, value in stack.properties(name).items() if key != "ServiceToken"
        }
        for name in stack.custom_resources
    }


def structured(properties: dict[str, Any]) -> dict[str, Any]:
    """What may be a map or JSON text, as a map."""
    texts = {
        name: properties[name] for name in ("ArchImageTags", "RetryConfigs") if name in properties
    }
    return {
        name: json.loads(value) if isinstance(value, str) else value
        for name, value in texts.items()
    }
