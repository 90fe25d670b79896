from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
from local.certificates import CertificateAuthority
from local.emulator import LambdaEmulator
from local.images import Content, build_image, build_index, build_layer, push
from local.registry import RegistryServer
from tests.interop.mirror_machine import Machine, deployed
from tests.interop.registries import DockerRegistry, skopeo_copy
from tests.programs import find_program

HANDLER = Path(__file__).parent.parent.parent / "handler"


class LoggedRequest(Protocol):
    """A request in the log of a registry."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def status(self) -> int: ...


class Registry(Protocol):
    """Debian's docker-registry or the loopback registry."""

    @property
    def host(self) -> str: ...
    @property
    def requests(self) -> Sequence[LoggedRequest]: ...
    def clear_requests(self) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True)
class RegistryPair:
    """Two registries and a warm function between them."""

    source: Registry
    destination: Registry
    function: LambdaEmulator

    def replicate(self, source: str, destination: str, **properties: Any) -> dict[str, Any]:
        """Send a Create event that copies ``source`` to ``destination`` and return the response."""
        self.source.clear_requests()
        self.destination.clear_requests()
        response: dict[str, Any] = self.function.invoke(
            {
                "RequestType": "Create",
                "ResponseURL": "http://pre-signed-S3-url-for-response",
                "StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/tests/1",
                "RequestId": "request",
                "LogicalResourceId": "Image",
                "ResourceProperties": {
                    "SrcImage": f"{self.source.host}/{source}",
                    "DestImage": f"{self.destination.host}/{destination}",
                    **properties,
                },
            }
        )
        return response

    def source_reference(self, image: str) -> str:
        return f"docker://{self.source.host}/{image}"

    def destination_reference(self, image: str) -> str:
        return f"docker://{self.destination.host}/{image}"


@pytest.fixture(scope="session", params=["docker-registry", "local"])
def pair(request: pytest.FixtureRequest) -> Iterator[RegistryPair]:
    kind: Callable[[], DockerRegistry | RegistryServer]
    kind = DockerRegistry if request.param == "docker-registry" else RegistryServer
    # one function per kind of registry: a warm function caches what it has read
    function = LambdaEmulator(HANDLER, timeout_seconds=120)
    with kind() as source, kind() as destination, function:
        yield RegistryPair(source, destination, function)


@pytest.fixture
def machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """The state machine of mirrors, deployed in this process."""
    authority = CertificateAuthority(tmp_path_factory.mktemp("authority"))
    with deployed(tmp_path, monkeypatch, authority) as running:
        yield running


@pytest.fixture(scope="session")
def umoci_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout created by umoci: ``app`` has three layers, ``many`` has forty."""
    layout = tmp_path_factory.mktemp("umoci") / "layout"
    content = tmp_path_factory.mktemp("content")
    _umoci("init", "--layout", str(layout))
    for tag, layers in (("app", 3), ("many", 40)):
        image = f"{layout}:{tag}"
        _umoci("new", "--image", image)
        _umoci("config", "--image", image, "--os", "linux", "--architecture", "amd64")
        for number in range(layers):
            file = content / f"{tag}-{number}"
            file.write_bytes(f"{tag} {number} ".encode() * 5000)
            _umoci("insert", "--image", image, str(file), f"/files/{number}")
    return layout


@pytest.fixture(scope="session")
def four_platforms() -> Content:
    """An index of four platforms whose images share a layer."""
    shared = build_layer(256 * 1024, seed=40)
    platforms = ("linux/amd64", "linux/arm64/v8", "linux/arm/v7", "linux/s390x")
    return build_index(
        [
            build_image([shared, build_layer(64 * 1024, seed=41 + number)], platform)
            for number, platform in enumerate(platforms)
        ]
    )


def push_by_skopeo(content: Content, pair: RegistryPair, image: str, *arguments: str) -> None:
    """Push a built image to the source registry with skopeo."""
    repository, _, tag = image.partition(":")
    with RegistryServer() as builder:
        push(content, builder.host, repository, tag)
        skopeo_copy(
            f"docker://{builder.host}/{image}", pair.source_reference(image), "--all", *arguments
        )


def _umoci(*arguments: str) -> None:
    subprocess.run([find_program("umoci"), *arguments], check=True, capture_output=True)
