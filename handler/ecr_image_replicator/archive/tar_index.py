"""What a tar archive holds and where, found by its headers alone: the data are skipped.

The archive is read forward, a page at each header, and no further than is asked for. What a page
holds beyond its header, the beginning of a file, is kept with the file, so that no byte is read
twice.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.archive.compression import HEAD_BYTES
from ecr_image_replicator.archive.tar_headers import (
    BLOCK_BYTES,
    Kind,
    is_header,
    parse_header,
    parse_long_name,
    parse_pax,
    shown,
)
from ecr_image_replicator.errors import InvalidArchiveError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ecr_image_replicator.archive.tar_headers import Header
    from ecr_image_replicator.copy.ports import RangedReader
    from ecr_image_replicator.model.digests import ByteReader

#: Holds a header and, in what Docker writes, the small files around it.
PAGE_BYTES: Final = 16 * 1024
#: Of JSON documents: manifests may have as many, and larger configs run nowhere.
MAX_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
#: An archive of a hundred images has a few thousand; a file system's has more.
_MAX_MEMBERS: Final = 20_000
_MAX_EXTENSION_BYTES: Final = 1024 * 1024
#: Kept of the files' beginnings, and of documents in an archive that is read only forward.
_MAX_KEPT_BYTES: Final = 16 * 1024 * 1024
#: With two of these, two readers could see two different images.
_UNIQUE: Final = frozenset({"manifest.json", "index.json"})
_SIGNATURES: Final = {
    b"PK\x03\x04": "a zip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"!<arch>\n": "an ar archive",
    b"{": "a JSON document",
    b"<": "an HTML or XML document",
    b"\x04\x22\x4d\x18": "lz4, which is not supported",
    b"hsqs": "a squashfs image",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the archive.

    Attributes
    ----------
    offset
        Of its first byte.
    head
        Its first bytes, as far as they came along with its header; six at least, if it has them.
    target
        The member that is meant, when this is a link.
    """

    name: str
    size_bytes: int
    offset: int
    head: bytes
    target: str = ""


class TarIndex:
    """The files of a tar archive, by name; used by several threads at once.

    Of files of the same name the first counts.

    Parameters
    ----------
    reader
        The archive, uncompressed.
    location
        For errors.
    """

    def __init__(self, reader: RangedReader, location: str) -> None:
        self._reader = reader
        self._location = location
        self._lock = threading.RLock()
        self._members: dict[str, Member] = {}
        self._window = _Window(reader)
        self._next_offset = 0
        self._kept_bytes = 0
        #: Whether every file is known.
        self.is_read = False

    def find(self, name: str) -> Member | None:
        """Give a file, or the file that a link of this name leads to; None when there is none.

        Raises
        ------
        InvalidArchiveError
            This is no tar archive, it is damaged or cut off, or the link leads nowhere.
        """
        member = self.find_first({name})
        if member is None or not member.target:
            return member
        target = self.find_first({member.target})
        if target is None or target.target:
            raise self._invalid(
                f"{shown(name)} is a link to {shown(member.target)}, which is "
                f"{'a link again' if target else 'not there'}"
            )
        return target

    def find_first(self, names: Collection[str]) -> Member | None:
        """Give that one of the files which comes first, links not followed."""
        with self._lock:
            known = [self._members[name] for name in names if name in self._members]
            if known:
                return min(known, key=lambda member: member.offset)
            while (member := self._advance()) is not None:
                if member.name in names:
                    return member
            return None

    def in_order(self) -> Iterator[Member]:
        """Go through the files from the first on, reading further as they are asked for."""
        count = 0
        while True:
            with self._lock:
                if count == len(self._members) and self._advance() is None:
                    return
                members = list(self._members.values())[count:]
            count += len(members)
            yield from members

    def names(self) -> list[str]:
        """Give the names found so far, in order."""
        with self._lock:
            return list(self._members)

    @contextmanager
    def open(self, member: Member) -> Iterator[ByteReader]:
        """Read a file from its first byte."""
        opened = _MemberReader(self._reader, member, self._location)
        try:
            yield opened
        finally:
            opened.close()

    def read(self, member: Member) -> bytes:
        """Read a whole document.

        Raises
        ------
        InvalidArchiveError
            It is larger than any document is, or cut off.
        """
        if member.size_bytes > MAX_DOCUMENT_BYTES:
            raise self._invalid(
                f"{shown(member.name)} has {member.size_bytes} bytes, and at most "
                f"{MAX_DOCUMENT_BYTES} are taken"
            )
        content = memoryview(bytearray(member.size_bytes))
        count = 0
        with self.open(member) as reader:
            while count < member.size_bytes:
                count += reader.readinto(content[count:])
        return bytes(content)

    def _advance(self) -> Member | None:
        """Read on to the next file and index it; None at the archive's end."""
        while not self.is_read:
            header = self._next_header()
            if header is None:
                self.is_read = True
                return None
            offset = self._next_offset
            self._next_offset += header.padded_bytes
            self._check_extent(header, offset)
            if header.kind is Kind.FILE or header.target:
                if header.name in self._members:
                    if header.name in _UNIQUE:
                        raise self._invalid(f"it holds {header.name} twice")
                    continue
                return self._add(header, offset)
        return None

    def _add(self, header: Header, offset: int) -> Member:
        if len(self._members) >= _MAX_MEMBERS:
            raise self._invalid(
                f"it holds more than {_MAX_MEMBERS} files and is more likely a file system"
            )
        # enough to recognise a compression, and what came along with it
        self._window.read(offset, min(HEAD_BYTES, header.size_bytes))
        head = self._window.held(offset, header.size_bytes)
        if (
            self._reader.is_sequential
            and head[:1] in {b"{", b"["}
            and len(head) < header.size_bytes <= MAX_DOCUMENT_BYTES
        ):
            head = self._window.read(offset, header.size_bytes)  # there is no way back to it
        if self._kept_bytes + len(head) > _MAX_KEPT_BYTES:
            head = head[:HEAD_BYTES]
        self._kept_bytes += len(head)
        member = Member(header.name, header.size_bytes, offset, bytes(head), header.target)
        self._members[header.name] = member
        return member

    def _next_header(self) -> Header | None:
        """Read the next header together with the extended ones before it; None at the end."""
        extended: dict[str, str] = {}
        while (block := self._next_block()) is not None:
            try:
                header = parse_header(block, extended)
                if not header.kind.describes_next:
                    return header
                content = self._extension(header)
                if header.kind is Kind.PAX:
                    extended.update(parse_pax(content))
                elif header.kind is Kind.LONG_NAME:
                    extended["path"] = parse_long_name(content)
                else:
                    extended["linkpath"] = parse_long_name(content)
            except InvalidArchiveError as error:
                raise self._invalid(str(error)) from error
        return None

    def _next_block(self) -> bytes | None:
        """Give the block where a header is due; None at the archive's end."""
        block = self._window.read(self._next_offset, BLOCK_BYTES)
        if self._next_offset == 0 and not is_header(block):
            raise self._invalid(_not_a_tar(block, self._reader.size_bytes))
        if not block or not any(block):
            return None
        if len(block) < BLOCK_BYTES:
            raise self._invalid(f"it is cut off after {self._reader.size_bytes} bytes")
        self._next_offset += BLOCK_BYTES
        return block

    def _extension(self, header: Header) -> bytes:
        if header.size_bytes > _MAX_EXTENSION_BYTES:
            raise InvalidArchiveError(f"an extended header has {header.size_bytes} bytes")
        content = self._window.read(self._next_offset, header.size_bytes)
        if len(content) < header.size_bytes:
            raise InvalidArchiveError("it is cut off within an extended header")
        self._next_offset += header.padded_bytes
        return content

    def _check_extent(self, header: Header, offset: int) -> None:
        size_bytes = self._reader.size_bytes
        if size_bytes is not None and offset + header.size_bytes > size_bytes:
            raise self._invalid(
                f"it is cut off within {shown(header.name)}, after {size_bytes - offset} of its "
                f"{header.size_bytes} bytes"
            )

    def _invalid(self, found: str) -> InvalidArchiveError:
        return InvalidArchiveError(f"the archive {self._location} cannot be read: {found}")


class _Window:
    """The part of the archive that was read last; moves forward only."""

    def __init__(self, reader: RangedReader) -> None:
        self._reader = reader
        self._offset = 0
        self._content = b""

    def read(self, offset: int, length: int) -> bytes:
        """Give these bytes, fewer at the archive's end."""
        end = self._offset + len(self._content)
        if offset >= end:
            self._content = self._reader.read_range(offset, max(length, PAGE_BYTES))
            self._offset = offset
        elif offset + length > end:
            missing = max(offset + length - end, PAGE_BYTES)
            self._content = self.held(offset, length) + self._reader.read_range(end, missing)
            self._offset = offset
        return self.held(offset, length)

    def held(self, offset: int, length: int) -> bytes:
        """Give as many of these bytes as are at hand."""
        start = offset - self._offset
        return self._content[start : start + length]


class _MemberReader:
    """A file's bytes: the beginning that is at hand, the rest from the archive."""

    def __init__(self, reader: RangedReader, member: Member, location: str) -> None:
        self._reader = reader
        self._member = member
        self._location = location
        self._at = 0
        self._rest: ByteReader | None = None
        self._opened = ExitStack()

    def readinto(self, buffer: memoryview, /) -> int:
        head = self._member.head
        if self._at < len(head):
            part = head[self._at : self._at + len(buffer)]
            buffer[: len(part)] = part
            self._at += len(part)
            return len(part)
        left = self._member.size_bytes - self._at
        if not left:
            return 0
        if self._rest is None:
            self._rest = self._opened.enter_context(
                self._reader.open_range(self._member.offset + self._at, left)
            )
        count = self._rest.readinto(buffer[:left])
        if not count:
            raise InvalidArchiveError(
                f"the archive {self._location} cannot be read: it is cut off within "
                f"{shown(self._member.name)}, after {self._at} of its "
                f"{self._member.size_bytes} bytes"
            )
        self._at += count
        return count

    def close(self) -> None:
        self._opened.close()


def _not_a_tar(block: bytes, size_bytes: int | None) -> str:
    """Say what the archive is instead, as far as its first block tells."""
    if not block:
        return "it is empty"
    if not any(block):
        return "it is a tar archive without any files"
    if len(block) < BLOCK_BYTES:
        return f"it is cut off after {size_bytes} bytes" if size_bytes else "it is cut off"
    for signature, what in _SIGNATURES.items():
        if block.startswith(signature):
            return f"it is no tar archive, it looks like {what}"
    return f"it is no tar archive, it begins with {block[:8].hex(' ')}"
