"""Tar archives in memory, and an object that records reads."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ecr_image_replicator.model.digests import ByteReader, BytesReader


class MemoryObject:
    """An object in memory that records which ranges were read."""

    is_sequential = False

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.reads: list[tuple[int, int]] = []
        self.size_bytes: int | None = None

    @property
    def bytes_read(self) -> int:
        return sum(length for _, length in self.reads)

    @property
    def repeated_reads(self) -> set[int]:
        """Return the offsets of ranges that were read more than once."""
        ends = 0
        found = set()
        for offset, length in sorted(self.reads):
            if offset < ends and length:
                found.add(offset)
            ends = max(ends, offset + length)
        return found

    def read_range(self, offset: int, length: int) -> bytes:
        self.size_bytes = len(self.content)
        part = self.content[offset : offset + length]
        self.reads.append((offset, len(part)))
        return part

    @contextmanager
    def open_range(self, offset: int, length: int) -> Iterator[ByteReader]:
        yield BytesReader(self.read_range(offset, length))


def tar(
    *files: tuple[str, bytes] | tarfile.TarInfo,
    format: int = tarfile.GNU_FORMAT,  # noqa: A002 - as in tarfile
    headers: Iterable[tuple[str, str]] = (),
) -> bytes:
    """Write an archive of files, or of entries without data; `headers` are pax records."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as archive:
        for file in files:
            if isinstance(file, tarfile.TarInfo):
                archive.addfile(file)
                continue
            entry = tarfile.TarInfo(file[0])
            entry.size = len(file[1])
            entry.pax_headers = dict(headers)
            archive.addfile(entry, io.BytesIO(file[1]))
    return stream.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry
