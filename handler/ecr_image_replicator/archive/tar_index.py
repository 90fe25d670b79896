"""The files of a tar archive, found by reading its headers and skipping their data.

The archive is read forward, one page at each header, and no further than needed. What a page holds
after its header, the beginning of a file, is kept with the file, so that no byte is read twice.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.archive.compression import HEAD_BYTES, SAVE_AGAIN
from ecr_image_replicator.archive.tar_headers import (
    BLOCK_BYTES,
    Kind,
    is_header,
    parse_header,
    parse_long_name,
    parse_pax,
    quote,
)
from ecr_image_replicator.errors import InvalidArchiveError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ecr_image_replicator.archive.tar_headers import Header
    from ecr_image_replicator.copy.ports import RangedReader
    from ecr_image_replicator.errors import Part
    from ecr_image_replicator.model.digests import ByteReader

#: Enough for a header and, in Docker's archives, the small files around it.
PAGE_BYTES: Final = 16 * 1024
#: The limit for manifests; no runtime accepts a larger config either.
MAX_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
#: An archive of a hundred images has a few thousand files.
_MAX_MEMBERS: Final = 20_000
_MAX_EXTENSION_BYTES: Final = 1024 * 1024
#: Of the names of all files and links, and of the files that links lead to.
_MAX_NAMES_CHARACTERS: Final = 4 * 1024 * 1024
#: Of the beginnings of files, and of JSON documents in a compressed archive.
_MAX_KEPT_BYTES: Final = 16 * 1024 * 1024
#: With two files of one of these names, two programs could read two different images.
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
        Its first bytes, as far as they were read with its header; at least `HEAD_BYTES` of a file
        that has so many.
    target
        The name of the file that a link leads to; "" for a file.
    """

    name: str
    size_bytes: int
    offset: int
    head: bytes
    target: str = ""


class TarIndex:
    """The files of a tar archive, by name; safe for several threads.

    If several files have the same name, the first one counts.

    Parameters
    ----------
    reader
        The archive, uncompressed.
    location
        Names the archive in errors.
    """

    def __init__(self, reader: RangedReader, location: str) -> None:
        self._reader = reader
        self.location: Final = location
        self._lock = threading.RLock()
        self._members: dict[str, Member] = {}
        self._window = _Window(reader)
        self._next_offset = 0
        self._last: tuple[Header, int] | None = None
        self._kept_bytes = 0
        self._names_characters = 0
        #: Whether the archive was read to its end, so that every file is known.
        self.is_read = False

    def find(self, name: str) -> Member | None:
        """Return a file, or the file that a link of this name leads to; None if there is none.

        Raises
        ------
        InvalidArchiveError
            The object is no tar archive, it is damaged or truncated, or the link is broken.
        """
        member = self.find_first({name})
        if member is None or not member.target:
            return member
        target = self.find_first({member.target})
        if target is None or target.target:
            raise self.invalid(
                f"{quote(name)} is a link to {quote(member.target)}, which is "
                f"{'a link itself' if target else 'not found'}"
            )
        return target

    @property
    def is_sequential(self) -> bool:
        """Whether the archive can be read only forward."""
        return self._reader.is_sequential

    def find_known(self, name: str) -> Member | None:
        """Return a file or link among those found so far."""
        with self._lock:
            return self._members.get(name)

    def find_first(self, names: Collection[str]) -> Member | None:
        """Return the archive's first file with one of the names; links are not followed."""
        with self._lock:
            known = [self._members[name] for name in names if name in self._members]
            if known:
                return min(known, key=lambda member: member.offset)
            while (member := self._advance()) is not None:
                if member.name in names:
                    return member
            return None

    def in_order(self) -> Iterator[Member]:
        """Yield the files in the archive's order, reading on as needed."""
        count = 0
        while True:
            with self._lock:
                if count == len(self._members) and self._advance() is None:
                    return
                members = list(self._members.values())[count:]
            count += len(members)
            yield from members

    def names(self) -> list[str]:
        """Return the names found so far, in the archive's order."""
        with self._lock:
            return list(self._members)

    @contextmanager
    def open(self, member: Member) -> Iterator[ByteReader]:
        """Read a file from its first byte."""
        opened = _MemberReader(self._reader, member, self.location)
        try:
            yield opened
        finally:
            opened.close()

    def read(self, member: Member) -> bytes:
        """Read a whole JSON document.

        Raises
        ------
        InvalidArchiveError
            It is larger than `MAX_DOCUMENT_BYTES`, or truncated.
        """
        if member.size_bytes > MAX_DOCUMENT_BYTES:
            raise self.invalid(
                f"{quote(member.name)} has {member.size_bytes} bytes, the maximum is "
                f"{MAX_DOCUMENT_BYTES}"
            )
        content = memoryview(bytearray(member.size_bytes))
        count = 0
        with self.open(member) as reader:
            while count < member.size_bytes:
                count += reader.readinto(content[count:])
        return bytes(content)

    def _advance(self) -> Member | None:
        """Read on to the next file and add it; None at the archive's end."""
        while not self.is_read:
            header = self._next_header()
            if header is None:
                self.is_read = True
                return None
            offset = self._next_offset
            self._next_offset += header.padded_bytes
            self._last = header, offset
            self._check_extent(header, offset)
            if header.kind is Kind.FILE or header.target:
                if header.name in self._members:
                    if header.name in _UNIQUE:
                        raise self.invalid(f"{header.name} appears twice")
                    continue
                return self._add(header, offset)
        return None

    def _add(self, header: Header, offset: int) -> Member:
        if len(self._members) >= _MAX_MEMBERS:
            raise self.invalid(
                f"more than {_MAX_MEMBERS} files found; this looks like a file system, not like "
                "an image"
            )
        self._names_characters += len(header.name) + len(header.target)
        if self._names_characters > _MAX_NAMES_CHARACTERS:
            raise self.invalid(
                f"the names of its files have more than {_MAX_NAMES_CHARACTERS} characters"
            )
        # enough to recognise a compression, and whatever was read with it
        self._window.read(offset, min(HEAD_BYTES, header.size_bytes))
        head = self._window.held(offset, header.size_bytes)
        if (
            self._reader.is_sequential
            and head[:1] in {b"{", b"["}
            and len(head) < header.size_bytes <= MAX_DOCUMENT_BYTES
        ):
            head = self._window.read(
                offset, header.size_bytes
            )  # going back would mean reading from the start
        if self._kept_bytes + len(head) > _MAX_KEPT_BYTES:
            head = head[:HEAD_BYTES]
        self._kept_bytes += len(head)
        member = Member(header.name, header.size_bytes, offset, bytes(head), header.target)
        self._members[header.name] = member
        return member

    def _next_header(self) -> Header | None:
        """Read the next header and the extended headers before it; None at the end."""
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
                raise self.invalid(*error.message, hint=error.hint) from error
        return None

    def _next_block(self) -> bytes | None:
        """Return the block that should be a header; None at the archive's end."""
        block = self._window.read(self._next_offset, BLOCK_BYTES)
        if self._next_offset == 0 and not is_header(block):
            raise self.invalid(_not_a_tar(block, self._reader.size_bytes))
        if not block and self._last is not None:
            self._check_extent(*self._last)  # a compressed archive's size is known at its end
        if not any(block):
            return None
        if len(block) < BLOCK_BYTES:
            raise self.invalid(f"truncated after {self._reader.size_bytes} bytes", hint=SAVE_AGAIN)
        self._next_offset += BLOCK_BYTES
        return block

    def _extension(self, header: Header) -> bytes:
        if header.size_bytes > _MAX_EXTENSION_BYTES:
            raise InvalidArchiveError(f"an extended header has {header.size_bytes} bytes")
        content = self._window.read(self._next_offset, header.size_bytes)
        if len(content) < header.size_bytes:
            raise InvalidArchiveError("truncated within an extended header")
        self._next_offset += header.padded_bytes
        return content

    def _check_extent(self, header: Header, offset: int) -> None:
        size_bytes = self._reader.size_bytes
        if size_bytes is not None and offset + header.size_bytes > size_bytes:
            raise self.invalid(
                f"truncated within {quote(header.name)}, after {size_bytes - offset} of "
                f"{header.size_bytes} bytes",
                hint=SAVE_AGAIN,
            )

    def invalid(self, *found: Part, hint: Part | tuple[Part, ...] = ()) -> InvalidArchiveError:
        """Return an error that names the archive and what was found in it."""
        return InvalidArchiveError(f"invalid archive {self.location}: ", *found, hint=hint)

    def missing(self, name: str) -> InvalidArchiveError:
        """Return the error for a file that the image refers to and the archive does not have."""
        return self.invalid(
            f"{quote(name)} not found, which the image refers to",
            hint="The archive is incomplete; save the image again.",
        )


class _Window:
    """The part of the archive that was read last; it moves forward only."""

    def __init__(self, reader: RangedReader) -> None:
        self._reader = reader
        self._offset = 0
        self._content = b""

    def read(self, offset: int, length: int) -> bytes:
        """Return these bytes, fewer at the archive's end."""
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
        """Return as many of these bytes as the window holds."""
        start = offset - self._offset
        return self._content[start : start + length]


class _MemberReader:
    """A file's bytes: its beginning from memory, the rest from the archive."""

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
                f"invalid archive {self._location}: truncated within {quote(self._member.name)}, "
                f"after {self._at} of {self._member.size_bytes} bytes",
                hint=SAVE_AGAIN,
            )
        self._at += count
        return count

    def close(self) -> None:
        self._opened.close()


def _not_a_tar(block: bytes, size_bytes: int | None) -> str:
    """Describe what the object is instead, by its first block."""
    if not block:
        return "the object is empty"
    if not any(block):
        return "a tar archive without files"
    if len(block) < BLOCK_BYTES:
        return f"truncated after {size_bytes} bytes" if size_bytes else "truncated"
    for signature, what in _SIGNATURES.items():
        if block.startswith(signature):
            return f"not a tar archive, it looks like {what}"
    return f"not a tar archive, it begins with {block[:8].hex(' ')}"
