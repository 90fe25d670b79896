"""skopeo, which copies content of the test builders in either format."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from local.images import Content, Image, build_artifact, build_image, build_index, build_layer, push
from local.registry import RegistryServer
from tests.interop.makers.program import ARCHITECTURES, Kind, Target
from tests.interop.registries import skopeo_copy


class Skopeo:
    """skopeo."""

    cannot_write: ClassVar[dict[Kind, str]] = {}
    cannot_read: ClassVar[dict[Kind, str]] = {}

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, kind: Kind, target: Target) -> None:
        form = "v2s2" if kind.is_docker else "oci"
        # with a format option, skopeo writes a new manifest
        converts = () if kind is Kind.ARTIFACT else ("--format", form)
        self.copy(_content(kind), target, *converts)

    def copy(self, content: Content, target: Target, *arguments: str) -> None:
        """Push content of the test builders with skopeo."""
        login = ("--dest-creds", target.login) if target.login else ()
        with RegistryServer() as staging:
            push(content, staging.host, "content", "1")
            url = f"docker://{staging.host}/content:1"
            skopeo_copy(url, target.url, "--all", *login, *arguments)

    def read(self, kind: Kind, target: Target, directory: Path) -> None:  # noqa: ARG002
        skopeo_copy(target.url, f"dir:{directory}", "--all")


def _content(kind: Kind) -> Content:
    if kind is Kind.ARTIFACT:
        return build_artifact("application/x-test", [("text/plain", b"by skopeo")])
    images = [_image(arch, seed) for seed, arch in enumerate(ARCHITECTURES, 70)]
    return build_index(images) if kind.is_index else images[0]


def _image(architecture: str, seed: int) -> Image:
    return build_image([build_layer(20_000, seed=seed)], f"linux/{architecture}")
