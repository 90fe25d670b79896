"""The local cloud: two registries, AWS, Docker Hub and a CloudFormation endpoint on loopback.

`python -m local` runs it, `python -m local.invoke` and the tests use it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shlex
import socket
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from local.archives import SavedImage, build_docker_save
from local.aws import LoopbackAws
from local.certificates import CertificateAuthority
from local.cloudformation import CloudFormationEndpoint
from local.images import Content, Image, build_artifact, build_image, build_index, build_layer, push
from local.registry import RegistryServer
from local.running import Running

_MEBIBYTE = 1024 * 1024
_SBOM_TYPE = "application/spdx+json"
ARCHIVE_BUCKET = "demo-archives"
ARCHIVE_KEY = "app.tar"
#: Hosts of the registries in `events/`.
SOURCE_PORT, DESTINATION_PORT, CLOUDFORMATION_PORT, PROXY_PORT = 5001, 5002, 5003, 5004
_Server = TypeVar("_Server", bound=Running)


class PortInUseError(Exception):
    """A port is in use. The message has the port and the option to change it."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports to listen on; 0 is a free port."""

    source: int = SOURCE_PORT
    destination: int = DESTINATION_PORT
    cloudformation: int = CLOUDFORMATION_PORT
    proxy: int = PROXY_PORT


class LocalCloud:
    """Servers on loopback with demo content, which run inside `with`.

    Parameters
    ----------
    directory
        For the CA certificate and the environment files.
    ports
        The ports to listen on.

    Raises
    ------
    PortInUseError
        On entering the context, if a port is in use.
    """

    source: RegistryServer
    destination: RegistryServer
    cloudformation: CloudFormationEndpoint
    aws: LoopbackAws

    def __init__(self, directory: Path, ports: Ports = Ports()) -> None:
        # absolute paths, since the function runs in another directory
        self.directory = directory.resolve()
        self._ports = ports
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._check_ports()
        self._check_directory()
        with contextlib.ExitStack() as opened:
            self.directory.mkdir(parents=True, exist_ok=True)
            authority = CertificateAuthority(self.directory)

            def start(name: str, port: int, make: Callable[[], _Server]) -> _Server:
                try:
                    server = make()
                except OSError as error:
                    raise _port_in_use(name, port, error) from error
                opened.enter_context(server)
                return server

            ports = self._ports
            self.source = start("source", ports.source, lambda: RegistryServer(ports.source))
            self.destination = start(
                "destination", ports.destination, lambda: RegistryServer(ports.destination)
            )
            self.cloudformation = start(
                "cloudformation",
                ports.cloudformation,
                lambda: CloudFormationEndpoint(
                    authority.server_context(), port=ports.cloudformation
                ),
            )
            self.aws = start(
                "proxy", ports.proxy, lambda: LoopbackAws(authority=authority, port=ports.proxy)
            )
            push_demo_images(self.source.host)
            put_demo_images(self.aws)
            put_demo_archive(self.aws)
            self._write_files()
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self.environment_file, self.description_file):
            file.unlink(missing_ok=True)
        self._opened.close()

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for a program that uses this cloud."""
        return {**self.aws.environment, "RESPONSE_HOSTS": self.cloudformation.host}

    @property
    def environment_file(self) -> Path:
        """Lines of ``NAME=value`` for a shell."""
        return self.directory / "environment"

    @property
    def description_file(self) -> Path:
        """Hosts, environment and an event as JSON, for `local.invoke`."""
        return self.directory / "cloud.json"

    def example_event(self) -> dict[str, Any]:
        """Return an event that copies demo/app:1.0 and has a response URL of the endpoint."""
        return self.cloudformation.event(
            "Create",
            {
                "SrcImage": f"docker://{self.source.host}/demo/app:1.0",
                "DestImage": f"docker://{self.destination.host}/demo/app:1.0",
                "Platforms": "all",
            },
        )

    def _check_ports(self) -> None:
        """Raise an error before files are written if a port is in use."""
        for name, port in dataclasses.asdict(self._ports).items():
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError as error:
                raise _port_in_use(name, port, error) from error

    def _check_directory(self) -> None:
        """Raise an error if a running cloud uses the directory and its certificate."""
        with contextlib.suppress(OSError, ValueError):
            host, _, port = json.loads(self.description_file.read_text())["source"].rpartition(":")
            socket.create_connection((host, int(port)), timeout=2).close()
            raise PortInUseError(
                f"another local cloud uses the directory {self.directory}. "
                "Stop it, or set --directory."
            )

    def _write_files(self) -> None:
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in self.environment.items()]
        self.environment_file.write_text("".join(lines))
        description = {
            "source": self.source.host,
            "destination": self.destination.host,
            "environment": self.environment,
            "event": self.example_event(),
        }
        self.description_file.write_text(json.dumps(description, indent=2) + "\n")


def _port_in_use(name: str, port: int, error: OSError) -> PortInUseError:
    return PortInUseError(
        f"cannot listen on port {port} for the {name}: {error.strerror}. "
        f"Stop the program that uses it, or set --{name}-port."
    )


def push_demo_images(host: str) -> None:
    """Push `demo/app:1.0` (an index of three platforms, with an SBOM) and `demo/single:1.0`."""
    app, single = _demo_images()
    push(app, host, "demo/app", "1.0")
    push(_sbom_of(app), host, "demo/app")
    push(single, host, "demo/single", "1.0")


def put_demo_images(aws: LoopbackAws) -> None:
    """Put the same images into Docker Hub; create an ECR repository."""
    app, single = _demo_images()
    aws.docker_hub.put(app, "library/demo", "1.0")
    aws.docker_hub.put(single, "demo/single", "1.0")
    aws.ecr().create_repository("demo/app", imageTagMutability="IMMUTABLE")


def put_demo_archive(aws: LoopbackAws) -> None:
    """Put a `docker save` archive of two layers into S3 as ``s3://demo-archives/app.tar``."""
    layers = [build_layer(_MEBIBYTE, seed=seed) for seed in (11, 12)]
    with tempfile.TemporaryDirectory(prefix="demo-archive-") as directory:
        path = Path(directory, ARCHIVE_KEY)
        build_docker_save(path, [SavedImage(layers, ["demo/archived:1.0"])])
        s3 = aws.client("s3")
        region: Mapping[str, Any] = {"LocationConstraint": s3.meta.region_name}
        s3.create_bucket(Bucket=ARCHIVE_BUCKET, CreateBucketConfiguration=region)
        s3.put_object(Bucket=ARCHIVE_BUCKET, Key=ARCHIVE_KEY, Body=path.read_bytes())


@functools.cache
def _demo_images() -> tuple[Content, Content]:
    shared = build_layer(4 * _MEBIBYTE, seed=1)
    app = build_index(
        [
            build_image([shared, build_layer(3 * _MEBIBYTE, seed=number)], platform)
            for number, platform in enumerate(
                ("linux/amd64", "linux/arm64/v8", "linux/arm/v7"), start=2
            )
        ],
        annotations={"org.opencontainers.image.title": "demo/app"},
    )
    return app, build_image([build_layer(2 * _MEBIBYTE, seed=9)], format="docker")


def _sbom_of(subject: Content) -> Image:
    document = json.dumps({"spdxVersion": "SPDX-2.3", "name": "demo/app"}).encode()
    return build_artifact(_SBOM_TYPE, [(_SBOM_TYPE, document)], subject=subject)
