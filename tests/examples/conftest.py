from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local.images import Content, build_image, build_index, build_layer, push
from local.registry import RegistryServer
from local.registry.authentication import Authentication
from local.registry.store import Manifest
from tests.functional.conftest import Function

from lifecycle import ReplicationResource
from replicator.references import ImageReference, parse_image_reference
from replicator.replication import Replicator
from replicator.settings import Settings

ROOT = Path(__file__).parents[2]
_SCHEME = "docker://"


class World:
    """A loopback registry in the place of each that a stack names.

    What the function is given and what it answers have the loopback hosts exchanged for the real
    ones and back; nothing else of either is touched.
    """

    def __init__(self, function: Function) -> None:
        self._function = function
        self._registries: dict[str, RegistryServer] = {}

    def registry(
        self, host: str, *, authentication: Authentication | None = None
    ) -> RegistryServer:
        """Give the registry in a host's place, started when it is first asked for."""
        if host not in self._registries:
            self._registries[host] = RegistryServer(authentication=authentication).start()
        return self._registries[host]

    def provide(self, name: str, content: Content, authorization: str | None = None) -> None:
        """Let a registry have an image under a name."""
        reference = parse_image_reference(name)
        push(
            content,
            self.registry(reference.registry).host,
            reference.repository,
            reference.tag,
            authorization=authorization,
        )

    def deploy(self, properties: dict[str, Any]) -> dict[str, Any]:
        """Send the handler a Create with a resource's properties, and give its answer."""
        mapped = {
            name: self._to_loopback(value) if name in {"SrcImage", "DestImage"} else value
            for name, value in properties.items()
        }
        answer = self._function.send({"RequestType": "Create", "ResourceProperties": mapped})
        text = json.dumps(answer)
        for host, server in self._registries.items():
            text = text.replace(server.host, host)
        answered: dict[str, Any] = json.loads(text)
        return answered

    def manifest(self, name: str) -> Manifest:
        """Give what a registry has under ``host/repository:tag`` or ``…@sha256:…``."""
        reference = parse_image_reference(name)
        store = self.registry(reference.registry).store
        return store.manifest(reference.repository, reference.selector)

    def close(self) -> None:
        """Stop the registries."""
        for server in self._registries.values():
            server.close()

    def _to_loopback(self, name: str) -> str:
        reference = parse_image_reference(name)
        there = ImageReference(
            self.registry(reference.registry).host,
            reference.repository,
            reference.tag,
            reference.digest,
        )
        return f"{_SCHEME if name.startswith(_SCHEME) else ''}{there}"


@pytest.fixture
def world() -> Iterator[World]:
    replicator = Replicator(Settings())
    world = World(Function(ReplicationResource(lambda: replicator)))
    yield world
    replicator.close()
    world.close()


@pytest.fixture(scope="session")
def index() -> Content:
    """An image for Intel and for Graviton."""
    return build_index(
        [
            build_image([build_layer(4096, seed=number)], platform)
            for number, platform in enumerate(("linux/amd64", "linux/arm64/v8"), start=70)
        ]
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Synthesis:
    """The cloud assembly that a run of the CDK has made."""

    directory: Path

    def read(self, name: str) -> dict[str, Any]:
        loaded = json.loads((self.directory / name).read_text())
        assert isinstance(loaded, dict)
        return loaded

    def template(self, stack: str) -> dict[str, Any]:
        return self.read(f"{stack}.template.json")


@pytest.fixture(scope="session")
def synthesis(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """Every stack that a test looks at, in one process: starting the CDK is what costs."""
    python = ROOT / ".venv-cdk" / "bin" / "python"
    if not python.exists():
        pytest.fail("the CDK is not installed: run `make test`, which installs it")
    directory = tmp_path_factory.mktemp("cdk")
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
    return Synthesis(directory)
