"""Archives with the file names that each program documents.

Sources: `docker save` (Docker image specification 1.2), go-containerregistry's tarball package
(crane, kaniko, ko), jib's tar exporter, nixpkgs' dockerTools, bazel's rules_oci, containerd's
exporter (`ctr images export`, Docker 25 and later), regctl's image export, `cosign save`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from local.archives.docker import SavedImage
from local.archives.files import ArchiveFile, write_tar
from local.archives.oci import layout_files
from local.images import Content, Image, Index, Layer
from local.registry.digests import digest_of

Program = Literal["docker for windows", "podman", "kaniko", "ko", "jib", "nix", "rules_oci"]
"""Programs that write manifest.json without an OCI layout."""

#: Names of config and layer, built from the hex digests of config and stored layer.
_NAMES: Mapping[Program, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "docker for windows": (lambda hex_: f"{hex_}.json", lambda hex_: f"{hex_}\\layer.tar"),
    "podman": (lambda hex_: f"{hex_}.json", lambda hex_: f"{hex_}.tar"),
    "kaniko": (lambda hex_: f"sha256:{hex_}", lambda hex_: f"{hex_}.tar.gz"),
    "ko": (lambda hex_: f"sha256:{hex_}", lambda hex_: f"{hex_}.tar.gz"),
    "jib": (lambda _: "config.json", lambda hex_: f"{hex_}.tar.gz"),
    "nix": (lambda hex_: f"./{hex_}.json", lambda hex_: f"./{hex_}/layer.tar"),
    "rules_oci": (
        lambda hex_: f"blobs/sha256/{hex_}",
        lambda hex_: f"blobs/sha256/{hex_}.tar.gz",
    ),
}


def build_archive_of(path: Path, program: Program, image: SavedImage) -> Path:
    """Write an archive of one image as a program does, with unchanged layers."""
    name_config, name_layer = _NAMES[program]
    config = ArchiveFile(name_config(_hex(image.config)), image.config)
    layers = [_layer_file(layer, name_layer) for layer in image.layers]
    entry = {
        "Config": config.name,
        "RepoTags": list(image.names) or None,
        "Layers": [layer.name for layer in layers] or None,
    }
    manifest = ArchiveFile("manifest.json", json.dumps([entry]).encode())
    # containers/image writes each layer once, even if two entries refer to it
    return write_tar(path, [*{each.name: each for each in (config, *layers)}.values(), manifest])


def build_export(
    path: Path,
    contents: Sequence[tuple[Content, str]],
    *,
    index: Mapping[str, Any] | None = None,
    manifest: Sequence[Mapping[str, Any]] | None = None,
    without: Sequence[str] = (),
) -> Path:
    """Write an OCI layout with manifest.json, as containerd, Docker 25 and regctl do.

    Parameters
    ----------
    index, manifest
        An index.json or manifest.json that replaces the generated one.
    without
        Digests of manifests and blobs to omit, such as those of platforms that were not pulled.
    """
    left_out = {f"blobs/{digest.replace(':', '/')}" for digest in without}
    files = [file for file in layout_files(contents, index=index) if file.name not in left_out]
    entries = (
        [_entry(content, name) for content, name in contents] if manifest is None else manifest
    )
    files.append(ArchiveFile("manifest.json", json.dumps(list(entries)).encode()))
    return write_tar(path, sorted(files, key=lambda file: file.name))


def build_cosign_save(path: Path, image: Image, signatures: Image) -> Path:
    """Write the directory of `cosign save` as a tar archive."""
    kinds = ((image, "image"), (signatures, "sigs"))
    entries = [
        content.descriptor({"kind": f"dev.cosignproject.cosign/{kind}"}) for content, kind in kinds
    ]
    index = {"schemaVersion": 2, "manifests": entries}
    return write_tar(path, layout_files([(image, ""), (signatures, "")], index=index))


def _entry(content: Content, name: str) -> dict[str, Any]:
    image = content.images[0] if isinstance(content, Index) else content
    assert isinstance(image, Image)  # noqa: S101 - nested indexes are unsupported
    document = json.loads(image.manifest)
    return {
        "Config": _blob_name(document["config"]["digest"]),
        "RepoTags": [name] if name else None,
        "Layers": [_blob_name(layer["digest"]) for layer in document["layers"]],
    }


def _layer_file(layer: object, name: Callable[[str], str]) -> ArchiveFile:
    assert isinstance(layer, Layer)  # noqa: S101 - layers on disk are for build_docker_save
    return ArchiveFile(name(_hex(layer.content)), layer.content)


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _hex(content: bytes) -> str:
    return digest_of(content).partition(":")[2]
