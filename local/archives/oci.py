"""OCI layouts in archives (OCI image specification 1.1, "Image Layout")."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local.archives.files import ArchiveFile, write_tar
from local.images import Content, Index

_NAME = "org.opencontainers.image.ref.name"


def build_oci_layout(
    path: Path,
    contents: Sequence[tuple[Content, str]],
    *,
    backwards: bool = False,
    index: Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Write an archive of images and indexes, each with a name or "".

    Parameters
    ----------
    backwards
        index.json stands before the manifests and these before the blobs, the smallest first, so
        that the archive can be understood as it is read; tools write it after them.
    index
        Another index.json than the one that follows from the contents.
    options
        `write_tar`'s.
    """
    blobs: dict[str, ArchiveFile] = {}
    entries = []
    for content, name in contents:
        _collect(content, blobs)
        entries.append(content.descriptor({_NAME: name} if name else None))
    document = index or {"schemaVersion": 2, "manifests": entries}
    top = [
        ArchiveFile("index.json", json.dumps(document).encode()),
        ArchiveFile("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
    ]
    files = [blobs[name] for name in sorted(blobs)]
    if backwards:
        files.sort(key=lambda file: len(file.content) if isinstance(file.content, bytes) else 0)
        return write_tar(path, [*top, *files], **options)
    return write_tar(path, [*files, *top], **options)


def _collect(content: Content, blobs: dict[str, ArchiveFile]) -> None:
    parts = {content.digest: content.manifest}
    if isinstance(content, Index):
        for image in content.images:
            _collect(image, blobs)
    else:
        parts |= content.blobs
    for digest, blob in parts.items():
        name = f"blobs/{digest.replace(':', '/')}"
        blobs[name] = ArchiveFile(name, blob)
