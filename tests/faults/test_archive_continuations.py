"""Archives that require several invocations read one object version and push each layer once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from local.archives import SavedImage, build_docker_save, build_oci_layout
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.images import build_image, build_layer
from local.objects import ObjectStorage
from local.registry import RegistryServer
from tests.faults.lambda_endpoint import LambdaEndpoint
from tests.faults.virtual_time import VirtualTime, invoke_with_real_budget

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.aws.sessions import AwsAccess
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

#: A layer takes two steps of time, so an invocation finishes four of them.
STEP_BYTES = 50_000
LAYERS = [build_layer(90_000, seed, "none") for seed in range(12)]


@dataclass
class Stage:
    storage: ObjectStorage
    destination: RegistryServer
    cloudformation: CloudFormationEndpoint
    functions: LambdaEndpoint
    time: VirtualTime

    def event(self) -> dict[str, Any]:
        named = {"SrcImage": "s3://archives/app.tar", "DestImage": f"{self.destination.host}/app:1"}
        return self.cloudformation.event("Create", {**named, "RetryConfigs": {"baseDelay": 0}})

    def invoke(self, event: dict[str, Any]) -> dict[str, Any]:
        """Run one event in a cold function that has cached AWS clients."""
        replicator = Replicator(Settings(streams=1, plain_http=("127.0.0.1",)))
        resource = ReplicationResource(lambda: replicator, invoke=invoke_with_real_budget)
        try:
            return resource.respond(event, self.time.new_context())
        finally:
            replicator.close()

    def finished(self) -> list[int]:
        """Return the number of finished uploads of each blob."""
        done = Counter(
            entry.parameters["digest"]
            for entry in self.destination.requests
            if entry.method == "PUT" and "digest" in entry.parameters and entry.status == 201
        )
        return list(done.values())


@pytest.fixture
def stage(
    small_trust_store: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    time = VirtualTime(STEP_BYTES)
    time.install(monkeypatch)
    with (
        ObjectStorage() as storage,
        RegistryServer() as destination,
        CloudFormationEndpoint(small_trust_store.server_context()) as cloudformation,
        LambdaEndpoint() as functions,
    ):
        functions.set_environment(monkeypatch)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", storage.url)
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        access = AwsAccess()
        monkeypatch.setattr("ecr_image_replicator.aws.sessions.AwsAccess", lambda: access)
        yield Stage(storage, destination, cloudformation, functions, time)


def test_an_invocation_reuses_layers_that_an_earlier_one_pushed(
    stage: Stage, tmp_path: Path
) -> None:
    stage.storage.put("app.tar", build_docker_save(tmp_path / "a", [SavedImage(LAYERS)]))
    event = stage.event()
    results = [stage.invoke(event)]
    while results[-1]["Status"] == "CONTINUED":
        results.append(stage.invoke(stage.functions.events.get_nowait()))
    assert results[-1]["Status"] == "SUCCESS", results[-1]["Reason"]
    assert len(results) == 3
    # every layer and the config
    assert stage.finished() == [1] * (len(LAYERS) + 1)
    assert stage.destination.store.open_uploads == ()
    assert [response.document for response in stage.cloudformation.responses] == [results[-1]]


@pytest.mark.parametrize("kind", ["docker save", "OCI layout"])
def test_an_archive_that_is_overwritten_between_invocations_fails(
    stage: Stage, tmp_path: Path, kind: str
) -> None:
    def build(name: str, order: int) -> Path:
        layers = LAYERS[::order]
        if kind == "docker save":
            return build_docker_save(tmp_path / name, [SavedImage(layers)])
        return build_oci_layout(tmp_path / name, [(build_image(layers), "app")])

    stage.storage.put("app.tar", build("first", 1))
    event = stage.event()
    assert stage.invoke(event)["Status"] == "CONTINUED"
    stage.storage.put("app.tar", build("second", -1))
    result = stage.invoke(stage.functions.events.get_nowait())
    assert result["Status"] == "FAILED"
    assert "PreconditionFailed" in result["Reason"]
    assert "deploy again, or pin its version with ?versionId=" in result["Reason"]
    assert stage.destination.store.tags("app") == {}
    assert len(stage.cloudformation.responses) == 1
