"""buildah and podman, which push images from a local storage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Final

from tests.interop.makers.program import ARCHITECTURES, Kind, Target, run, write_file

_INDEX: Final = "localhost/index:1"


class Storage(ABC):
    """A program with a separate storage, which is created for the first content."""

    program: ClassVar[str]

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._built: set[str] = set()

    def run(self, *arguments: str) -> str:
        options = (
            f"--root={self._directory / 'root'}",
            f"--runroot={self._directory / 'run'}",
            "--storage-driver=vfs",
        )
        return run(self.program, *options, *arguments, directory=self._directory)

    def write(self, kind: Kind, target: Target) -> None:
        options = ["--tls-verify=false", "--format", "v2s2" if kind.is_docker else "oci"]
        if target.login:
            options += ["--creds", target.login]
        if kind.is_index:
            self.run("manifest", "push", "--all", *options, self._index(), target.url)
        else:
            self.run("push", *options, self.image("amd64"), target.url)

    def read(self, kind: Kind, target: Target, directory: Path) -> None:
        copied = ARCHITECTURES[:2] if kind is Kind.SUBSET else ARCHITECTURES
        # an empty storage, so that every blob is pulled
        reader = type(self)(directory)
        for architecture in copied if kind.is_index else ARCHITECTURES[:1]:
            pulled = reader.run(
                "pull", "--quiet", "--arch", architecture, "--tls-verify=false", target.url
            )
            assert reader.architecture_of(pulled) == architecture

    def image(self, architecture: str) -> str:
        """Return the name of the image for an architecture, which is built on first use."""
        name = f"localhost/{architecture}:1"
        if name not in self._built:
            self._build(name, architecture)
            self._built.add(name)
        return name

    def _index(self) -> str:
        if _INDEX not in self._built:
            images = [self.image(architecture) for architecture in ARCHITECTURES]
            self.run("manifest", "create", _INDEX)
            for name in images:
                self.run("manifest", "add", _INDEX, f"containers-storage:{name}")
            self._built.add(_INDEX)
        return _INDEX

    def _file(self, architecture: str) -> Path:
        return write_file(self._directory, f"{self.program}-{architecture}")

    @abstractmethod
    def _build(self, name: str, architecture: str) -> None:
        """Build an image for an architecture."""

    @abstractmethod
    def architecture_of(self, image: str) -> str:
        """Return the architecture of an image in the program's storage."""


class Buildah(Storage):
    """buildah."""

    program = "buildah"
    cannot_write: ClassVar[dict[Kind, str]] = {
        Kind.ARTIFACT: "buildah before 1.36 cannot add an artifact to an index or push one"
    }
    cannot_read: ClassVar[dict[Kind, str]] = {Kind.ARTIFACT: "buildah pulls images only"}

    def _build(self, name: str, architecture: str) -> None:
        container = self.run("from", "scratch")
        self.run("copy", container, str(self._file(architecture)), "/file")
        self.run("config", "--os", "linux", "--arch", architecture, container)
        self.run("commit", "--quiet", "--rm", container, name)

    def architecture_of(self, image: str) -> str:
        return self.run("inspect", "--type=image", "--format={{.OCIv1.Architecture}}", image)


class Podman(Storage):
    """podman."""

    program = "podman"
    cannot_write: ClassVar[dict[Kind, str]] = {
        Kind.ARTIFACT: "podman before 5.3 has no `podman artifact`"
    }
    cannot_read: ClassVar[dict[Kind, str]] = {
        Kind.ARTIFACT: "podman before 5.3 has no `podman artifact`"
    }

    def _build(self, name: str, architecture: str) -> None:
        recipe = self._directory / f"Containerfile-{architecture}"
        recipe.write_text(f"FROM scratch\nCOPY {self._file(architecture).name} /file\n")
        # with its cache, podman reuses an image of FROM scratch for another architecture
        options = ("--no-cache", "--isolation=chroot", f"--platform=linux/{architecture}")
        self.run("build", "--quiet", *options, "-f", str(recipe), "-t", name, ".")

    def architecture_of(self, image: str) -> str:
        return self.run("image", "inspect", "--format={{.Architecture}}", image)
