"""Each event in events/, sent to the function with the local cloud."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local.aws import LoopbackAws
from local.cloud import push_demo_images, put_demo_archive
from local.registry import RegistryServer
from tests.functional.conftest import Function

EVENTS = Path(__file__).parent.parent.parent / "events"

#: The expected status of each event, and a text in the response's data or reason.
EXPECTED = {
    "create-one-platform": ("SUCCESS", "linux/amd64"),
    "create-whole-index": ("SUCCESS", "linux/amd64,linux/arm64,linux/arm/v7"),
    "create-one-architecture": ("SUCCESS", "mirror/app:arm64"),
    "create-several-platforms": ("SUCCESS", '"Platforms": "linux/amd64,linux/arm64"'),
    "create-architecture-tags": ("SUCCESS", "linux/amd64,linux/arm64,linux/arm/v7"),
    "create-with-referrers": ("SUCCESS", '"ReferrersCopied": "1"'),
    "create-further-tags": ("SUCCESS", "linux/amd64"),
    "create-docker-image": ("SUCCESS", "application/vnd.docker.distribution.manifest.v2+json"),
    "create-dry-run": ("SUCCESS", '"Changed": "true"'),
    "create-missing-image": ("FAILED", "demo/absent:1.0"),
    "create-unknown-property": ("FAILED", "Did you mean 'CopyImageIndex'? Log stream: "),
    "create-from-archive": ("SUCCESS", "mirror/archived:1.0"),
    "update-further-tags": ("SUCCESS", "linux/amd64"),
    "delete": ("SUCCESS", ""),
}


#: Direct invocations, and the values that the function is expected to return.
DIRECT = {"direct-call": {"Changed": "true", "Platforms": "linux/amd64,linux/arm64,linux/arm/v7"}}


def test_every_event_has_an_expected_result() -> None:
    assert {file.stem for file in EVENTS.glob("*.json")} == EXPECTED.keys() | DIRECT.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_an_event_has_the_expected_result(
    aws: LoopbackAws,
    aws_function: Function,
    registries: Callable[..., RegistryServer],
    name: str,
) -> None:
    source, destination = registries(), registries()
    push_demo_images(source.host)
    put_demo_archive(aws)
    text = (EVENTS / f"{name}.json").read_text()
    text = text.replace("localhost:5001", source.host).replace("localhost:5002", destination.host)
    event: dict[str, Any] = json.loads(text)

    response = aws_function.send(event)

    status, found = EXPECTED[name]
    assert response["Status"] == status, response
    assert found in json.dumps([response["Data"], response.get("Reason", "")])
    tags = {event["ResourceProperties"]["DestImage"].rpartition(":")[2]}
    tags |= set(event["ResourceProperties"].get("DestTags", []))
    tags |= set(json.loads(event["ResourceProperties"].get("ArchImageTags", "{}")).values())
    repositories = destination.store.repositories
    found_tags = {tag for repository in repositories for tag in destination.store.tags(repository)}
    is_dry = "DryRun" in event["ResourceProperties"]
    is_copied = status == "SUCCESS" and event["RequestType"] != "Delete" and not is_dry
    assert found_tags == (tags if is_copied else set())
