"""A tar archive's headers: POSIX ustar and pax, GNU's long names and large numbers; no I/O.

POSIX.1-2017, "pax", sections "ustar Interchange Format" and "pax Interchange Format"; the GNU tar
manual, "Basic Tar Format".
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import InvalidArchiveError

if TYPE_CHECKING:
    from collections.abc import Mapping

BLOCK_BYTES: Final = 512
_MAX_SIZE_BYTES: Final = 2**62
_CHECKSUM: Final = slice(148, 156)
_POSIX_MAGIC: Final = b"ustar\0"
_GNU_SPARSE: Final = b"S"


class Kind(Enum):
    """What a header stands before."""

    FILE = "file"
    SYMBOLIC_LINK = "symbolic link"
    HARD_LINK = "hard link"
    PAX = "extended header"
    LONG_NAME = "long name"
    LONG_LINK = "long link"
    DIRECTORY = "directory"
    OTHER = "other"

    @property
    def describes_next(self) -> bool:
        """True when the data belong to the header that follows."""
        return self in {Kind.PAX, Kind.LONG_NAME, Kind.LONG_LINK}


_KINDS: Final = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMBOLIC_LINK,
    b"3": Kind.DIRECTORY,  # a device; like a directory, it has no data
    b"4": Kind.DIRECTORY,
    b"5": Kind.DIRECTORY,
    b"6": Kind.DIRECTORY,
    b"x": Kind.PAX,
    b"L": Kind.LONG_NAME,
    b"K": Kind.LONG_LINK,
}
_WITHOUT_DATA: Final = frozenset({Kind.DIRECTORY, Kind.SYMBOLIC_LINK, Kind.HARD_LINK})


@dataclass(frozen=True, slots=True)
class Header:
    """One header block, with what came before it to complete it.

    Attributes
    ----------
    name
        A path without leading ``./`` or ``/``.
    size_bytes
        Of the data that follow, without padding.
    target
        Where a link leads, as a path like `name`; "" for what is no link.
    """

    name: str
    kind: Kind
    size_bytes: int
    target: str = ""

    @property
    def padded_bytes(self) -> int:
        """The length of the data with the padding to whole blocks."""
        return -(-self.size_bytes // BLOCK_BYTES) * BLOCK_BYTES


def is_header(block: bytes) -> bool:
    """Tell whether a block is a tar header, by its checksum."""
    if len(block) != BLOCK_BYTES:
        return False
    try:
        stated = _number(block[_CHECKSUM])
    except InvalidArchiveError:
        return False
    spaces = 8 * ord(" ")
    return stated == sum(block[: _CHECKSUM.start]) + spaces + sum(block[_CHECKSUM.stop :])


def parse_header(block: bytes, extended: Mapping[str, str]) -> Header:
    """Read a header block.

    Parameters
    ----------
    extended
        What extended headers before it say: ``path``, ``linkpath``, ``size``.

    Raises
    ------
    InvalidArchiveError
        The block is no header, its size makes no sense, or its file is sparse.
    """
    if not is_header(block):
        raise InvalidArchiveError("a header is damaged")
    flag = block[156:157]
    name = extended.get("path") or _name(block)
    if flag == _GNU_SPARSE or any(key.startswith("GNU.sparse.") for key in extended):
        raise InvalidArchiveError(
            f"{shown(name)} is a sparse file, which is not supported; write the archive without "
            "tar's --sparse"
        )
    kind = _KINDS.get(flag, Kind.OTHER)
    if kind is Kind.FILE and name.endswith("/"):
        kind = Kind.DIRECTORY  # as before POSIX
    size_bytes = 0 if kind in _WITHOUT_DATA else _size(block, extended)
    return Header(_path(name), kind, size_bytes, _target(block, extended, name, kind))


def parse_pax(content: bytes) -> dict[str, str]:
    """Read the records of a pax extended header, each ``length key=value`` and a line's end.

    Raises
    ------
    InvalidArchiveError
        They are malformed.
    """
    records: dict[str, str] = {}
    at = 0
    while at < len(content) and content[at]:
        length, space, _ = content[at : at + 20].partition(b" ")
        if not space or not length.isdigit() or int(length) <= len(length) + 1:
            raise InvalidArchiveError("an extended header is malformed")
        record = content[at + len(length) + 1 : at + int(length)]
        key, equals, value = record.partition(b"=")
        if not equals or at + int(length) > len(content) or not value.endswith(b"\n"):
            raise InvalidArchiveError("an extended header is malformed")
        records[_text(key)] = _text(value[:-1])
        at += int(length)
    return records


def parse_long_name(content: bytes) -> str:
    """Read the name that GNU's long name and long link headers carry."""
    return _text(content.partition(b"\0")[0])


def shown(name: str) -> str:
    """Quote a name, which may be hostile, for a sentence."""
    return repr(name if len(name) <= 120 else name[:117] + "...")


def _name(block: bytes) -> str:
    name = _text(block[:100].partition(b"\0")[0])
    if block[257:263] != _POSIX_MAGIC:
        return name
    prefix = _text(block[345:500].partition(b"\0")[0])
    return f"{prefix}/{name}" if prefix else name


def _target(block: bytes, extended: Mapping[str, str], name: str, kind: Kind) -> str:
    if kind not in {Kind.SYMBOLIC_LINK, Kind.HARD_LINK}:
        return ""
    target = extended.get("linkpath") or _text(block[157:257].partition(b"\0")[0])
    if kind is Kind.SYMBOLIC_LINK:
        target = posixpath.join("/", posixpath.dirname(_path(name)), target)
    return _path(target)


def _path(name: str) -> str:
    return posixpath.normpath(f"/{name}").lstrip("/")


def _size(block: bytes, extended: Mapping[str, str]) -> int:
    text = extended.get("size")
    if text is None:
        size_bytes = _number(block[124:136])
    elif text.isascii() and text.isdigit() and len(text) < 20:
        size_bytes = int(text)
    else:
        raise InvalidArchiveError("an extended header has a size that is no number")
    if size_bytes > _MAX_SIZE_BYTES:
        raise InvalidArchiveError("a header has a size that makes no sense")
    return size_bytes


def _number(field: bytes) -> int:
    """Read octal digits or, for what does not fit them, GNU's base 256."""
    if field[0] & 0x80:
        if field[0] & 0x40:
            raise InvalidArchiveError("a header has a negative number")
        return int.from_bytes(bytes([field[0] & 0x3F]) + field[1:], "big")
    digits = field.partition(b"\0")[0].strip(b" ")
    if digits.strip(b"01234567"):
        raise InvalidArchiveError("a header has a number that is none")
    return int(digits or b"0", 8)


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="surrogateescape")
