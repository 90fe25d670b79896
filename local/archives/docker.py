"""Archives of `docker save`, as several versions of Docker write them.

Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from local.archives.files import ArchiveFile, write_tar
from local.archives.large import LayerFile
from local.images import Layer
from local.registry.digests import digest_of

DockerSaveFormat = Literal["folders", "layout", "compressed"]
"""Docker before 25 (folders, repeated layers as links), Docker since 25 (an OCI layout beside
manifest.json), and programs that store layers compressed, such as crane and kaniko."""

_CREATED = "2025-01-01T00:00:00Z"
_OCI = "application/vnd.oci.image"


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An image to save, with its names. Layers are uncompressed except for `compressed`."""

    layers: Sequence[Layer | LayerFile]
    names: Sequence[str] = ()
    platform: str = "linux/amd64"

    @property
    def config(self) -> bytes:
        """The image's config."""
        return build_config([layer.diff_id for layer in self.layers], self.platform)


def build_config(diff_ids: Sequence[str], platform: str = "linux/amd64") -> bytes:
    """Return the config of an image of these layers."""
    system, architecture = platform.split("/")
    return json.dumps(
        {
            "created": _CREATED,
            "os": system,
            "architecture": architecture,
            "config": {"Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            "history": [{"created": _CREATED, "created_by": "build"} for _ in diff_ids],
        }
    ).encode()


def build_docker_save(
    path: Path,
    images: Sequence[SavedImage],
    save_format: DockerSaveFormat = "folders",
    *,
    reverse_order: bool = False,
    **options: Any,
) -> Path:
    """Write an archive of images. `options` are those of `write_tar`.

    With `reverse_order`, manifest.json comes first; Docker writes it last.
    """
    files = list(
        {"folders": _folders, "layout": _layout, "compressed": _compressed}[save_format](images)
    )
    return write_tar(path, reversed(files) if reverse_order else files, **options)


def _folders(images: Sequence[SavedImage]) -> Iterator[ArchiveFile]:
    manifest = []
    first_of: dict[str, str] = {}
    for number, image in enumerate(images):
        names = []
        for position, layer in enumerate(image.layers):
            folder = _hex(digest_of(f"{number}/{position}/{layer.diff_id}".encode()))
            names.append(f"{folder}/layer.tar")
            yield ArchiveFile(f"{folder}/VERSION", b"1.0")
            yield ArchiveFile(f"{folder}/json", json.dumps({"id": folder}).encode())
            known = first_of.setdefault(layer.diff_id, folder)
            if known == folder:
                yield ArchiveFile(f"{folder}/layer.tar", _content(layer))
            else:
                yield ArchiveFile(f"{folder}/layer.tar", target=f"../{known}/layer.tar")
        config = f"{_hex(digest_of(image.config))}.json"
        yield ArchiveFile(config, image.config)
        manifest.append({"Config": config, "RepoTags": list(image.names) or None, "Layers": names})
    yield ArchiveFile("manifest.json", json.dumps(manifest).encode())
    yield ArchiveFile("repositories", b"{}")


def _compressed(images: Sequence[SavedImage]) -> Iterator[ArchiveFile]:
    manifest = []
    for image in images:
        config = str(digest_of(image.config))
        yield ArchiveFile(config, image.config)
        names = []
        for layer in image.layers:
            content = _content(layer)
            assert isinstance(content, bytes)  # noqa: S101 - large layers are uncompressed
            names.append(f"{_hex(digest_of(content))}.tar.gz")
            yield ArchiveFile(names[-1], content)
        manifest.append({"Config": config, "RepoTags": list(image.names), "Layers": names})
    yield ArchiveFile("manifest.json", json.dumps(manifest).encode())


def _layout(images: Sequence[SavedImage]) -> Iterator[ArchiveFile]:
    blobs: dict[str, ArchiveFile] = {}
    index, manifest = [], []
    for image in images:
        layers = [_blob(blobs, layer.diff_id, _content(layer)) for layer in image.layers]
        config = _blob(blobs, digest_of(image.config), image.config)
        document = {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": {"mediaType": f"{_OCI}.config.v1+json", **config},
            "layers": [{"mediaType": f"{_OCI}.layer.v1.tar", **layer} for layer in layers],
        }
        content = json.dumps(document).encode()
        described = {
            "mediaType": f"{_OCI}.manifest.v1+json",
            **_blob(blobs, digest_of(content), content),
        }
        index += [{**described, "annotations": _annotations(name)} for name in image.names] or [
            described
        ]
        manifest.append(
            {
                "Config": _blob_name(config["digest"]),
                "RepoTags": list(image.names) or None,
                "Layers": [_blob_name(layer["digest"]) for layer in layers],
            }
        )
    yield from (blobs[name] for name in sorted(blobs))
    yield ArchiveFile("index.json", json.dumps({"schemaVersion": 2, "manifests": index}).encode())
    yield ArchiveFile("manifest.json", json.dumps(manifest).encode())
    yield ArchiveFile("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')


def _annotations(name: str) -> dict[str, str]:
    repository = name if "/" in name else f"library/{name}"
    return {
        "io.containerd.image.name": f"docker.io/{repository}",
        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
    }


def _blob(blobs: dict[str, ArchiveFile], digest: str, content: bytes | Path) -> dict[str, Any]:
    name = _blob_name(digest)
    blobs[name] = ArchiveFile(name, content)
    size_bytes = len(content) if isinstance(content, bytes) else content.stat().st_size
    return {"digest": digest, "size": size_bytes}


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{_hex(digest)}"


def _content(layer: Layer | LayerFile) -> bytes | Path:
    return layer.path if isinstance(layer, LayerFile) else layer.content


def _hex(digest: str) -> str:
    return digest.partition(":")[2]
