"""umoci, which creates and unpacks images in layouts. skopeo copies layouts to registries."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tests.interop.makers.program import Kind, Target, run, write_file
from tests.interop.registries import skopeo_copy

_NO_INDEX = "umoci writes a layout of single images, never an index below its index.json"
_NO_ARTIFACT = "umoci has commands for images only"


class Umoci:
    """umoci."""

    cannot_write: ClassVar[dict[Kind, str]] = {
        Kind.DOCKER: "umoci writes OCI manifests only",
        Kind.INDEX: _NO_INDEX,
        Kind.MANIFEST_LIST: _NO_INDEX,
        Kind.SUBSET: _NO_INDEX,
        Kind.ARTIFACT: _NO_ARTIFACT,
    }
    cannot_read: ClassVar[dict[Kind, str]] = {
        Kind.DOCKER: "a layout has OCI manifests only",
        Kind.INDEX: "umoci unpacks one manifest",
        Kind.MANIFEST_LIST: "umoci unpacks one manifest",
        Kind.SUBSET: "umoci unpacks one manifest",
        Kind.ARTIFACT: _NO_ARTIFACT,
    }

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._layout = directory / "layout"

    def write(self, kind: Kind, target: Target) -> None:  # noqa: ARG002
        if not self._layout.exists():
            self._make_image()
        login = ("--dest-creds", target.login) if target.login else ()
        skopeo_copy(f"oci:{self._layout}:app", target.url, *login)

    def _make_image(self) -> None:
        image = f"{self._layout}:app"
        self._run("init", "--layout", str(self._layout))
        self._run("new", "--image", image)
        self._run("config", "--image", image, "--os", "linux", "--architecture", "amd64")
        for number in range(3):
            file = write_file(self._directory, f"umoci-{number}")
            self._run("insert", "--image", image, str(file), f"/files/{number}")

    def read(self, kind: Kind, target: Target, directory: Path) -> None:  # noqa: ARG002
        skopeo_copy(target.url, f"oci:{directory / 'layout'}:app")
        self._run("unpack", "--image", f"{directory / 'layout'}:app", str(directory / "bundle"))
        for number in range(3):
            unpacked = directory / "bundle" / "rootfs" / "files" / str(number)
            written = write_file(self._directory, f"umoci-{number}")
            assert unpacked.read_bytes() == written.read_bytes()

    def _run(self, *arguments: str) -> str:
        return run("umoci", *arguments, directory=self._directory)
