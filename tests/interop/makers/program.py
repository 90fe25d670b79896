"""The interface of makers and the kinds of content."""

from __future__ import annotations

import dataclasses
import enum
import os
import subprocess
from pathlib import Path
from typing import ClassVar, Final, Protocol

from tests.programs import find_program

#: Platforms of each index. A subset omits the last one.
ARCHITECTURES: Final = ("amd64", "arm64", "s390x")
_TIMEOUT_SECONDS: Final = 120


class Kind(enum.Enum):
    """A kind of content."""

    SINGLE = "single"
    DOCKER = "docker-format"
    INDEX = "index"
    MANIFEST_LIST = "manifest-list"
    SUBSET = "subset"
    ARTIFACT = "artifact"
    REFERRERS_API = "referrers-api"
    FALLBACK_TAG = "fallback-tag"

    @property
    def is_index(self) -> bool:
        return self in {Kind.INDEX, Kind.MANIFEST_LIST, Kind.SUBSET}

    @property
    def is_docker(self) -> bool:
        return self in {Kind.DOCKER, Kind.MANIFEST_LIST}


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """A tag in a registry on loopback, with the login for pushes: ``user:password``."""

    host: str
    repository: str
    tag: str
    login: str = ""

    @property
    def name(self) -> str:
        return f"{self.host}/{self.repository}:{self.tag}"

    @property
    def url(self) -> str:
        """The reference in the syntax of skopeo, buildah and podman."""
        return f"docker://{self.name}"

    def at(self, reference: str) -> Target:
        return dataclasses.replace(self, tag=reference)


class Maker(Protocol):
    """A program that can push some kinds of content, and pull some.

    Attributes
    ----------
    cannot_write, cannot_read
        The kinds that the program has no command for, and why.
    """

    cannot_write: ClassVar[dict[Kind, str]]
    cannot_read: ClassVar[dict[Kind, str]]

    def __init__(self, directory: Path) -> None: ...

    def write(self, kind: Kind, target: Target) -> None:
        """Push content of this kind. For a kind with referrers, push only the subject."""

    def read(self, kind: Kind, target: Target, directory: Path) -> None:
        """Pull the pushed content into a new directory. The program verifies it."""


def run(program: str, *arguments: str, directory: Path) -> str:
    """Run a program with a separate home directory and return its output.

    Raises
    ------
    AssertionError
        It failed; the message has its output.
    """
    home = directory / "home"
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "BUILDAH_ISOLATION": "chroot",
    }
    path = program if "/" in program else find_program(program)
    finished = subprocess.run(
        [path, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        env=environment,
        cwd=directory,
        check=False,
    )
    assert finished.returncode == 0, f"{program} {' '.join(arguments[:3])}: {finished.stderr}"
    return finished.stdout.strip()


def write_file(directory: Path, name: str) -> Path:
    """Write the file of an image."""
    file = directory / name
    if not file.exists():
        file.write_text(f"{name}\n" * 2000)
    return file
