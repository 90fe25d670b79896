"""The headers of a tar archive: POSIX ustar and pax, GNU long names and large numbers; no I/O.

POSIX.1-2017, "pax", sections "ustar Interchange Format" and "pax Interchange Format"; the GNU tar
manual, "Basic Tar Format".
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import InvalidArchiveError

if TYPE_CHECKING:
    from collections.abc import Mapping

BLOCK_BYTES: Final = tarfile.BLOCKSIZE
_MAX_SIZE_BYTES: Final = 2**62
#: The records of pax extended headers that count.
_PAX_KEYS: Final = frozenset({"path", "linkpath", "size"})
_GNU_MAGIC: Final = b"ustar  \0"
#: The access time that `tar --listed-incremental` writes where POSIX has the name's prefix, which
#: Python's tarfile reads in GNU headers too (GNU tar manual, "Basic Tar Format").
_ACCESS_TIME: Final = re.compile(rb"([0-7]{11})\0")
#: Stands for all records of sparse files.
_SPARSE: Final = "GNU.sparse"


class Kind(Enum):
    """What a header describes."""

    FILE = "file"
    LINK = "link"
    PAX = "extended header"
    LONG_NAME = "long name"
    LONG_LINK = "long link"
    OTHER = "other"

    @property
    def describes_next(self) -> bool:
        """Whether the data complete the header that follows."""
        return self in {Kind.PAX, Kind.LONG_NAME, Kind.LONG_LINK}


_KINDS: Final = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.CONTTYPE: Kind.FILE,
    tarfile.LNKTYPE: Kind.LINK,
    tarfile.SYMTYPE: Kind.LINK,
    tarfile.XHDTYPE: Kind.PAX,
    tarfile.GNUTYPE_LONGNAME: Kind.LONG_NAME,
    tarfile.GNUTYPE_LONGLINK: Kind.LONG_LINK,
}
#: Links, devices, directories and pipes: a size in their header is ignored.
_WITHOUT_DATA: Final = frozenset(
    {
        tarfile.LNKTYPE,
        tarfile.SYMTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.DIRTYPE,
        tarfile.FIFOTYPE,
    }
)


@dataclass(frozen=True, slots=True)
class Header:
    """One header block, completed by the extended headers before it.

    Attributes
    ----------
    name
        A path without leading ``./`` or ``/``.
    size_bytes
        Of the data that follow, without padding.
    target
        The path that a link leads to, like `name`; "" for what is no link.
    """

    name: str
    kind: Kind
    size_bytes: int
    target: str = ""

    @property
    def padded_bytes(self) -> int:
        """The length of the data, padded to whole blocks."""
        return -(-self.size_bytes // BLOCK_BYTES) * BLOCK_BYTES


def is_header(block: bytes) -> bool:
    """Return whether a block is a tar header, by its checksum."""
    return _parse(block) is not None


def parse_header(block: bytes, extended: Mapping[str, str]) -> Header:
    """Parse a header block.

    Parameters
    ----------
    extended
        What the extended headers before it say, as `parse_pax` returns it.

    Raises
    ------
    InvalidArchiveError
        The block is no header, its size is impossible, or its file is sparse.
    """
    info = _parse(block)
    if info is None:
        raise InvalidArchiveError("invalid tar header")
    name = extended.get("path") or info.name
    if info.type == tarfile.GNUTYPE_SPARSE or _SPARSE in extended:
        raise InvalidArchiveError(
            f"{quote(name)} is a sparse file, which is not supported",
            hint="Create the archive without tar's --sparse.",
        )
    kind = _KINDS.get(info.type, Kind.OTHER)
    is_empty = info.type in _WITHOUT_DATA
    if kind is Kind.FILE and name.endswith("/"):
        kind, is_empty = Kind.OTHER, True  # a directory, as tar wrote it before POSIX
    size_bytes = 0 if is_empty else _size(info, extended)
    target = _target(info, extended, name) if kind is Kind.LINK else ""
    return Header(normalize_path(name), kind, size_bytes, target)


def parse_pax(content: bytes) -> dict[str, str]:
    r"""Parse the records of a pax extended header, each ``length key=value\n``.

    ``path``, ``linkpath`` and ``size`` are returned, and ``GNU.sparse`` for a sparse file; keeping
    the others would take memory without bounds.

    Raises
    ------
    InvalidArchiveError
        A record is malformed.
    """
    records: dict[str, str] = {}
    at = 0
    while at < len(content) and content[at]:
        length, space, _ = content[at : at + 20].partition(b" ")
        if not space or not length.isdigit() or int(length) <= len(length) + 1:
            raise InvalidArchiveError("invalid extended header")
        record = content[at + len(length) + 1 : at + int(length)]
        key, equals, value = record.partition(b"=")
        if not equals or at + int(length) > len(content) or not value.endswith(b"\n"):
            raise InvalidArchiveError("invalid extended header")
        name = _text(key)
        if name in _PAX_KEYS:
            records[name] = _text(value[:-1])
        elif name.startswith(f"{_SPARSE}."):
            records[_SPARSE] = ""
        at += int(length)
    return records


def parse_long_name(content: bytes) -> str:
    """Parse the name in the data of GNU's long name and long link headers."""
    return _text(content.partition(b"\0")[0])


def quote(name: str) -> str:
    """Quote a name from an archive, which may be hostile, for a message."""
    return repr(name if len(name) <= 120 else name[:117] + "...")


def normalize_path(name: str) -> str:
    """Return a path in the form in which names are compared; Windows writers use backslashes."""
    return posixpath.normpath("/" + name.replace("\\", "/")).lstrip("/")


def _parse(block: bytes) -> tarfile.TarInfo | None:
    if len(block) != BLOCK_BYTES:
        return None
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return None
    if block[257:265] == _GNU_MAGIC and (time := _ACCESS_TIME.match(block, 345)):
        info.name = info.name.removeprefix(f"{time[1].decode()}/")
    return info


def _target(info: tarfile.TarInfo, extended: Mapping[str, str], name: str) -> str:
    target = (extended.get("linkpath") or info.linkname).replace("\\", "/")
    if info.type == tarfile.SYMTYPE:
        target = posixpath.join("/", posixpath.dirname(normalize_path(name)), target)
    return normalize_path(target)


def _size(info: tarfile.TarInfo, extended: Mapping[str, str]) -> int:
    text = extended.get("size")
    if text is None:
        size_bytes = info.size
    elif text.isascii() and text.isdigit() and len(text) < 20:
        size_bytes = int(text)
    else:
        raise InvalidArchiveError("an extended header has an invalid size")
    if not 0 <= size_bytes <= _MAX_SIZE_BYTES:
        raise InvalidArchiveError("a header has an invalid size")
    return size_bytes


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="surrogateescape")
