"""Images that skopeo, umoci and buildah have made, pushed by each to a registry and copied."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.interop.conftest import Ends
from tests.interop.registries import skopeo_copy, skopeo_inspect_raw
from tests.programs import find_program


def _run(program: str, *arguments: str) -> str:
    finished = subprocess.run(
        [find_program(program), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
    )
    return finished.stdout.strip()


class Buildah:
    """buildah with a storage of its own."""

    def __init__(self, directory: Path) -> None:
        self._options = (
            f"--root={directory / 'root'}",
            f"--runroot={directory / 'run'}",
            "--storage-driver=vfs",
        )
        self._file = directory / "file"
        self._file.write_text("made by buildah\n" * 1000)

    def run(self, *arguments: str) -> str:
        return _run("buildah", *self._options, *arguments)

    def commit(self, name: str, architecture: str = "amd64", *options: str) -> None:
        container = self.run("from", "scratch")
        self.run("copy", container, str(self._file), f"/{architecture}")
        self.run("config", "--os", "linux", "--arch", architecture, container)
        self.run("commit", *options, container, name)


def _push_by_umoci(layout: Path, _: Path, target: str) -> None:
    skopeo_copy(f"oci:{layout}:app", target)


def _push_by_skopeo(layout: Path, _: Path, target: str) -> None:
    skopeo_copy(f"oci:{layout}:app", target, "--format", "v2s2", "--dest-compress-format", "zstd")


def _push_by_buildah(_: Path, directory: Path, target: str) -> None:
    Buildah(directory).commit(target, "amd64", "--tls-verify=false")


def _push_in_docker_format_by_buildah(_: Path, directory: Path, target: str) -> None:
    Buildah(directory).commit(target, "amd64", "--tls-verify=false", "--format=docker")


def _push_index_by_buildah(_: Path, directory: Path, target: str) -> None:
    buildah = Buildah(directory)
    for architecture in ("amd64", "arm64"):
        buildah.commit(f"localhost/{architecture}", architecture)
    buildah.run("manifest", "create", "localhost/index")
    for architecture in ("amd64", "arm64"):
        buildah.run("manifest", "add", "localhost/index", f"localhost/{architecture}")
    buildah.run("manifest", "push", "--all", "--tls-verify=false", "localhost/index", target)


@pytest.mark.parametrize(
    "push",
    [
        _push_by_umoci,
        _push_by_skopeo,
        _push_by_buildah,
        _push_in_docker_format_by_buildah,
        _push_index_by_buildah,
    ],
)
def test_an_image_of_a_maker_arrives_byte_for_byte(
    ends: Ends,
    umoci_layout: Path,
    tmp_path: Path,
    push: Callable[[Path, Path, str], None],
) -> None:
    image = f"makers/{push.__name__.strip('_').replace('_', '-')}:1"
    push(umoci_layout, tmp_path, ends.source_reference(image))
    pushed = skopeo_inspect_raw(ends.source_reference(image))

    answer = ends.replicate(image, image, CopyImageIndex="true")
    again = ends.replicate(image, image, CopyImageIndex="true")

    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert again["Data"]["Changed"] == "false"
    assert skopeo_inspect_raw(ends.destination_reference(image)) == pushed
    if "manifests" in json.loads(pushed):
        assert answer["Data"]["Platforms"] == "linux/amd64,linux/arm64"
    # skopeo verifies every blob that it reads
    skopeo_copy(ends.destination_reference(image), f"dir:{tmp_path / 'out'}", "--all")
