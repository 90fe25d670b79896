from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from local.aws import LoopbackAws
from local.certificates import CertificateAuthority
from local.dockerhub import HubUser
from local.images import Index
from tests.examples.indexes import build_two_platforms
from tests.examples.simulated_cloud import SimulatedCloud
from tests.functional.conftest import Function

from custom_resource.resource import ReplicationResource
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

ROOT = Path(__file__).parents[2]
#: The stack with the functions of the app that `synthesize.py` makes.
SHARED_STACK = "ReplicatedImages-EcrImageReplicator"
#: Variables of the developer's proxy, certificates and account, which the tests remove.
_REMOVED_VARIABLES = (
    "ALL_PROXY",
    "AWS_ENDPOINT_URL",
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "REQUESTS_CA_BUNDLE",
)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def cloud(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SimulatedCloud]:
    for name in (*_REMOVED_VARIABLES, "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    users = {"username": HubUser("password")}
    with LoopbackAws(authority=authority, hub_users=users) as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        replicator = Replicator(Settings())
        cloud = SimulatedCloud(aws, Function(ReplicationResource(lambda: replicator)))
        yield cloud
        replicator.close()
        cloud.close()


@pytest.fixture(scope="session")
def index() -> Index:
    return build_two_platforms(70)


@dataclasses.dataclass(frozen=True, slots=True)
class Synthesis:
    """A cloud assembly of the CDK."""

    directory: Path

    def read(self, name: str) -> dict[str, Any]:
        loaded = json.loads((self.directory / name).read_text())
        assert isinstance(loaded, dict)
        return loaded

    def template(self, stack: str) -> dict[str, Any]:
        return self.read(f"{stack}.template.json")

    def deployed(self, stack: str) -> dict[str, Any]:
        """Return a template with the resources of the shared stack, whose exports it refers to."""
        shared = self.template(SHARED_STACK)
        exports = {each["Export"]["Name"]: each["Value"] for each in shared["Outputs"].values()}
        template = _link(self.template(stack), exports)
        return {**template, "Resources": {**shared["Resources"], **template["Resources"]}}


def _link(value: Any, exports: Mapping[str, Any]) -> Any:
    """Replace imported values with references to the exporting resources."""
    if isinstance(value, list):
        return [_link(each, exports) for each in value]
    if not isinstance(value, dict):
        return value
    name = value.get("Fn::ImportValue")
    if isinstance(name, str) and name in exports:
        return exports[name]
    return {key: _link(each, exports) for key, each in value.items()}


@pytest.fixture(scope="session")
def synthesis(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Synthesize all tested stacks in one process, since starting the CDK is slow.

    The first worker of pytest-xdist does it for all workers.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    directory = shared / "cdk"
    with (shared / "cdk.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # the directory exists only when the assembly is complete
        if not directory.exists():
            unfinished = tmp_path_factory.mktemp("cdk")
            _synthesize(unfinished)
            unfinished.rename(directory)
    return Synthesis(directory)


def _synthesize(directory: Path) -> None:
    python = ROOT / ".venv-cdk" / "bin" / "python"
    if not python.exists():
        pytest.fail("the CDK is not installed: run `make test`, which installs it")
    finished = subprocess.run(
        [str(python), str(Path(__file__).with_name("synthesize.py")), str(directory)],
        env={
            **os.environ,
            "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "true",
            "PYTHONPATH": str(ROOT / "examples" / "cdk"),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
