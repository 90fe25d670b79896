"""The measured archives: six layers in the formats of two ages of Docker, plain and compressed.

The layers contain this machine's programs and libraries, like those of images. Those of an
`incompressible` archive are random bytes, as incompressible as models, media and packages.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import shutil
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.archives import LayerFile, SavedImage, build_docker_save, build_large_layer
from local.registry.digests import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from local.archives import DockerSaveFormat

LAYERS: Final = 6
#: Docker before 25 stores each layer in a folder, later versions an OCI layout.
FORMATS: Final[dict[str, DockerSaveFormat]] = {"Docker 24": "folders", "Docker 25": "layout"}
COMPRESSED: Final = "Docker 25, gzip"
MISSING, THERE, CHANGED, NOISE = "missing", "there", "one layer changed", "incompressible"


@dataclass(frozen=True, slots=True)
class Case:
    """An archive and the existing content at the destination.

    Attributes
    ----------
    format
        The program that writes the format.
    state
        With `MISSING` the destination is empty, with `THERE` the tag has the image, with
        `CHANGED` the last layer is new, and `NOISE` is `MISSING` with incompressible layers.
    """

    format: str
    state: str

    @property
    def name(self) -> str:
        """The name for the tables."""
        return f"{self.format}, {self.state}"

    @property
    def file(self) -> str:
        """The name of the archive's file."""
        content = {CHANGED: "second", NOISE: "random"}.get(self.state, "first")
        return f"{content}-{self.format.replace(', ', '-').replace(' ', '-')}.tar"


CASES: Final = (
    *(
        Case(each, state)
        for each, state in itertools.product(FORMATS, (MISSING, THERE, CHANGED, NOISE))
    ),
    Case(COMPRESSED, MISSING),
    Case(COMPRESSED, NOISE),
)


@dataclass(frozen=True, slots=True)
class Archives:
    """The archives of a folder.

    Attributes
    ----------
    changed_bytes
        The size of the new layer in `CHANGED`.
    """

    folder: Path
    changed_bytes: int

    def path(self, case: Case) -> Path:
        """Return the path of a case's archive."""
        return self.folder / case.file


def build(folder: Path, layer_bytes: int) -> Archives:
    """Write the archives of all cases."""
    files = _files()
    layers = [_build_layer(folder / f"{n}", files, layer_bytes) for n in range(LAYERS + 1)]
    changed_bytes = layers[LAYERS].path.stat().st_size
    _save(folder, MISSING, layers[:LAYERS])
    _save(folder, CHANGED, [*layers[: LAYERS - 1], layers[LAYERS]])
    noise = [
        build_large_layer(each.path, layer_bytes, number, "random")
        for number, each in enumerate(layers[:LAYERS])
    ]
    _save(folder, NOISE, noise)
    for layer in layers:
        layer.path.unlink()
    for state in (MISSING, NOISE):
        source = folder / Case("Docker 25", state).file
        _compress(source, folder / Case(COMPRESSED, state).file)
    return Archives(folder, changed_bytes)


def _save(folder: Path, state: str, layers: Sequence[LayerFile]) -> None:
    for name, save_format in FORMATS.items():
        image = SavedImage(layers, ["app:1"])
        build_docker_save(folder / Case(name, state).file, [image], save_format)


def _compress(source: Path, target: Path) -> None:
    with source.open("rb") as plain, gzip.open(target, "wb", compresslevel=1) as compressed:
        shutil.copyfileobj(plain, compressed)


def _files() -> Iterator[Path]:
    """Iterate endlessly over files like those of images."""
    roots = [Path(name) for name in ("/usr/lib", "/usr/bin", "/usr/share", sys.prefix)]
    for root in itertools.cycle(roots):
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path


def _build_layer(path: Path, files: Iterator[Path], layer_bytes: int) -> LayerFile:
    left_bytes = layer_bytes
    with tarfile.open(path, "w") as tar:
        while left_bytes > 0:
            file = next(files)
            tar.add(file)
            left_bytes -= file.stat().st_size
    with path.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return LayerFile(path, Digest(f"sha256:{digest}"))
