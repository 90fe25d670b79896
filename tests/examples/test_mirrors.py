"""The example stacks of mirrors: the state machine copies their images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from local.aws import LoopbackAws
from local.certificates import CertificateAuthority
from local.dockerhub import HubUser
from local.images import build_artifact
from tests.examples.conftest import ROOT
from tests.examples.indexes import build_platforms, build_two_platforms
from tests.examples.resolver import ACCOUNT, Stack, load_template
from tests.examples.simulated_cloud import SimulatedCloud
from tests.functional.conftest import Function
from tests.interop.mirror_machine import Machine, deployed

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

EXAMPLES = ROOT / "examples" / "cloudformation"
EXPORTS = {
    "ecr-image-replicator-ServiceToken": f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:replicator",
}
HOST = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
BUILD = "111111111111"


class MirrorCloud(SimulatedCloud):
    """A cloud that sends the events of mirrors to a deployed state machine."""

    def __init__(self, aws: LoopbackAws, function: Function, machine: Machine) -> None:
        super().__init__(aws, function)
        self.machine = machine
        self.event: dict[str, Any] = {}

    def deploy(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Send a Create event, wait for the end of its run, and return the response."""
        self.event = self.machine.event("Create", dict(properties))
        assert self.machine.send(self.event)["Status"] == "STARTED"
        response = self.machine.cloudformation.wait_for_response(self.event["RequestId"], 120)
        self.machine.wait_until_ended()
        return dict(response.document)

    def run_again(self) -> dict[str, str]:
        """Run the mirror as its schedule does and return the summary of the report."""
        run = self.machine.run_of(self.event)
        start = {"Mirror": {"Step": "Start", "Run": run, "At": "2026-01-02T03:00:00Z"}}
        assert self.machine.send(start) == {"Started": True}
        self.machine.wait_until_ended()
        summary: dict[str, str] = self.machine.report_of(self.machine.executions()[0])["Summary"]
        return summary

    def tags(self, repository: str) -> set[str]:
        """Return the tags of a repository in ECR."""
        return set(self.aws.ecr().store.tags(repository))


@pytest.fixture
def mirrors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: CertificateAuthority
) -> Iterator[MirrorCloud]:
    users = {"username": HubUser("password")}
    replicator = Replicator(Settings())
    with (
        LoopbackAws(authority=authority, hub_users=users) as aws,
        deployed(tmp_path, monkeypatch, authority, aws) as machine,
    ):
        function = Function(ReplicationResource(lambda: replicator))
        opened = MirrorCloud(aws, function, machine)
        yield opened
        opened.close()
    replicator.close()


@pytest.fixture
def stack(mirrors: MirrorCloud) -> Callable[..., Stack]:
    def open_stack(name: str, **parameters: Any) -> Stack:
        template = load_template(EXAMPLES / f"{name}.yaml")
        return Stack(template, mirrors, parameters=parameters, imports=EXPORTS)

    return open_stack


def _assert_unchanged(mirrors: MirrorCloud, count: int) -> None:
    """Run once more: no manifest is read and nothing is sent to ECR."""
    before = len(mirrors.aws.requests)

    summary = mirrors.run_again()

    assert (summary["Unchanged"], summary["Copied"], summary["Failed"]) == (str(count), "0", "0")
    requests = mirrors.aws.requests[before:]
    assert not any(each.method == "GET" and "/manifests/" in each.path for each in requests)
    assert not any("/blobs/" in each.path for each in requests)


def test_docker_hub_is_mirrored_by_version_every_night(
    stack: Callable[..., Stack], mirrors: MirrorCloud
) -> None:
    nginx = [f"1.{minor}.0-alpine" for minor in range(24, 31)]
    for seed, tag in enumerate([*nginx, "1.30.0", "2.0.0-alpine", "latest"]):
        mirrors.push_image(f"docker.io/library/nginx:{tag}", build_two_platforms(100 + 2 * seed))
    for seed, tag in enumerate(["6.2.0", "7.0.0", "7.2.0", "7.2.1", "7.4.0", "8.0.0"]):
        mirrors.push_image(f"docker.io/library/redis:{tag}", build_two_platforms(200 + 2 * seed))
    login = json.dumps({"username": "username", "password": "password"})
    secret = mirrors.create_secret("hub", login, "eu-west-1")
    example = stack("mirror-docker-hub", Secret=secret)

    report = example.outputs()["Report"]

    assert report.startswith("s3://")
    assert mirrors.tags("mirror/nginx") == set(nginx[-5:])
    assert mirrors.tags("mirror/redis") == {"7.2.0", "7.2.1", "7.4.0"}
    assert mirrors.machine.schedules() == [example.resolve({"Ref": "Mirror"})]
    _assert_unchanged(mirrors, 8)


def test_the_images_of_eks_add_ons_are_copied_by_a_list(
    stack: Callable[..., Stack], mirrors: MirrorCloud
) -> None:
    example = stack("mirror-eks-add-ons")
    images = example.properties("AddOns")["Images"]
    content = build_platforms(300, "linux/amd64", "linux/arm64/v8", "linux/s390x")
    for image in images:
        mirrors.push_image(image["SrcImage"], content)

    assert example.outputs() == {"Copied": str(len(images))}

    for image in images:
        assert mirrors.manifest(image["DestImage"]).content == content.manifest


def test_releases_are_promoted_with_their_signatures(
    stack: Callable[..., Stack], mirrors: MirrorCloud
) -> None:
    source = f"{BUILD}.dkr.ecr.eu-west-1.amazonaws.com/team/app"
    releases = {tag: build_two_platforms(400 + 2 * int(tag[-1])) for tag in ("1.0.0", "1.0.1")}
    for tag, index in releases.items():
        mirrors.push_image(f"{source}:{tag}", index)
        signature = build_artifact("application/vnd.example.signature", subject=index)
        mirrors.push_image(f"{source}:signature-{tag}", signature)
    for tag in ("0.9.0", "1.1.0-rc.1"):
        mirrors.push_image(f"{source}:{tag}", build_two_platforms(500))
    mirrors.create_repository(f"{HOST}/team/app:1")
    # multi-account-role.yaml requires an external ID
    role = mirrors.aws.add_role(f"arn:aws:iam::{BUILD}:role/pull", external_id="between-us")
    example = stack(
        "mirror-promotion", BuildAccount=BUILD, BuildRoleArn=role, ExternalId="between-us"
    )

    assert example.outputs() == {"Failures": ""}

    assert mirrors.tags("team/app") == set(releases)
    for tag, index in releases.items():
        assert mirrors.manifest(f"{HOST}/team/app:{tag}").digest == index.digest
        signature = build_artifact("application/vnd.example.signature", subject=index)
        copied = mirrors.manifest(f"{HOST}/team/app@{signature.digest}")
        assert copied.content == signature.manifest
    assumed = {
        call.parameters["RoleArn"]
        for call in mirrors.aws.services.calls
        if call.action == "sts:AssumeRole"
    }
    assert assumed == {role}
    assert mirrors.run_again()["Copied"] == "0"
