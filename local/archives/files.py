"""Files of tar archives and a writer."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

TarFormat = Literal[0, 1, 2]
"""`tarfile`'s USTAR_FORMAT, GNU_FORMAT and PAX_FORMAT."""

_COPY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A file, or a symbolic link with `target`. Content on disk is not read into memory."""

    name: str
    content: bytes | Path = field(default=b"", repr=False)
    target: str = ""


def write_tar(
    path: Path,
    files: Iterable[ArchiveFile],
    format: TarFormat = tarfile.GNU_FORMAT,  # noqa: A002 - as in tarfile
) -> Path:
    """Write an archive with each folder before its files, and return its path.

    Holes of sparse files remain holes, so that an archive of zeros takes no space.
    """
    folders: set[str] = set()
    with path.open("wb") as archive:
        for file in files:
            folder = file.name.rpartition("/")[0]
            if folder and folder not in folders:
                folders.add(folder)
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.write(entry.tobuf(format))
            _add(archive, file, format)
        size_bytes = archive.tell() + 2 * tarfile.BLOCKSIZE
        archive.truncate(-(-size_bytes // tarfile.RECORDSIZE) * tarfile.RECORDSIZE)
    return path


def _add(archive: BinaryIO, file: ArchiveFile, format_: TarFormat) -> None:
    entry = tarfile.TarInfo(file.name)
    entry.mode = 0o644
    if file.target:
        entry.type, entry.linkname = tarfile.SYMTYPE, file.target
        archive.write(entry.tobuf(format_))
        return
    size_bytes = (
        file.content.stat().st_size if isinstance(file.content, Path) else len(file.content)
    )
    entry.size = size_bytes
    archive.write(entry.tobuf(format_))
    start = archive.tell()
    if isinstance(file.content, Path):
        with file.content.open("rb") as content:
            _copy(content, archive, size_bytes)
    else:
        archive.write(file.content)
    archive.seek(start + -(-size_bytes // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)


def _copy(source: BinaryIO, target: BinaryIO, size_bytes: int) -> None:
    """Copy a file without its holes."""
    start, at = target.tell(), 0
    while at < size_bytes:
        try:
            at = os.lseek(source.fileno(), at, os.SEEK_DATA)
        except OSError:
            return  # the rest is a hole
        end = os.lseek(source.fileno(), at, os.SEEK_HOLE)
        source.seek(at)
        target.seek(start + at)
        while at < end:
            block = source.read(min(_COPY_BYTES, end - at))
            target.write(block)
            at += len(block)
