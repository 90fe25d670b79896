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
    reverse_order: bool = False,
    **options: Any,
) -> Path:
    """Write an archive of images and indexes, each with a name or "".

    Parameters
    ----------
    reverse_order
        index.json comes first, then manifests and blobs, the smallest first, so that a compressed
        archive needs one pass. Programs write index.json last.
    options
        Of `write_tar`.
    """
    files = layout_files(contents)
    if reverse_order:
        top, blobs = files[-2:], files[:-2]
        blobs.sort(key=lambda file: len(file.content) if isinstance(file.content, bytes) else 0)
        return write_tar(path, [*top, *blobs], **options)
    return write_tar(path, files, **options)


def layout_files(
    contents: Sequence[tuple[Content, str]], *, index: Mapping[str, Any] | None = None
) -> list[ArchiveFile]:
    """Return the files of a layout: blobs, index.json (`index` or a generated one), oci-layout."""
    blobs: dict[str, ArchiveFile] = {}
    entries = []
    for content, name in contents:
        _collect(content, blobs)
        entries.append(content.descriptor({_NAME: name} if name else None))
    document = index or {"schemaVersion": 2, "manifests": entries}
    return [
        *(blobs[name] for name in sorted(blobs)),
        ArchiveFile("index.json", json.dumps(document).encode()),
        ArchiveFile("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
    ]


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
