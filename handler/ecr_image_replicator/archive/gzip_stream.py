"""Gzip with ISA-L: compression that stores incompressible data uncompressed, and decompression.

RFC 1951 (deflate), section 3.2.4, and RFC 1952 (gzip). A chunk whose sample does not shrink, such
as part of a jar or a picture, becomes stored blocks: ten times as fast, and a little smaller.
"""

from __future__ import annotations

import struct
from typing import Final

from isal import igzip_lib, isal_zlib

_LEVEL: Final = 1
_RAW_WINDOW_BITS: Final = -15
#: Deflate, no flags, no time, no extra flags, an unknown operating system.
_HEADER: Final = bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])
_STORED_BYTES: Final = 65535
_STORED: Final = 0
_SAMPLE_BYTES: Final = 4096
#: A sample that shrinks by less than 1/32 marks its chunk as incompressible.
_INCOMPRESSIBLE_BYTES: Final = _SAMPLE_BYTES - _SAMPLE_BYTES // 32
_FIXED_HEADER_BYTES: Final = 10
#: Of file name and comment, which have no limit in the format.
_MAX_HEADER_BYTES: Final = 1024 * 1024
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT = 2, 4, 8, 16


class GzipCompressor:
    """A gzip compressor; the same chunks always give the same bytes."""

    def __init__(self) -> None:
        self._deflate = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW_WINDOW_BITS)
        self._crc = 0
        self._size_bytes = 0
        self._is_deflating = False
        self._head = _HEADER

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Compress one chunk, and return the output that is ready."""
        self._crc = isal_zlib.crc32(data, self._crc)
        self._size_bytes += len(data)
        head, self._head = self._head, b""
        if not _is_incompressible(data):
            self._is_deflating = True
            return head + self._deflate.compress(data)
        if self._is_deflating:
            # aligns to a byte, and forbids references to data before the stored block
            head += self._deflate.flush(isal_zlib.Z_FULL_FLUSH)
            self._is_deflating = False
        return head + _stored(data)

    def flush(self) -> bytes:
        """Return the rest of the output."""
        trailer = struct.pack("<II", self._crc, self._size_bytes & 0xFFFFFFFF)
        return self._head + self._deflate.flush() + trailer


class GzipDecompressor:
    """A decompressor of one gzip member, with the interface of bz2's and lzma's.

    ISA-L rejects a header with a checksum or several optional fields if it arrives in pieces, so
    the header is collected first.
    """

    def __init__(self) -> None:
        self._inflate = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)
        self._header: bytes | None = b""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        """Whether the next output needs more input."""
        return self._inflate.needs_input

    @property
    def unused_data(self) -> bytes:
        """The bytes after the member's end."""
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Decompress more of the member, to at most `max_length` bytes."""
        if self._header is not None:
            self._header += data
            if not _has_whole_header(self._header):
                if len(self._header) > _MAX_HEADER_BYTES:
                    raise ValueError("gzip header is too long")
                return b""
            data, self._header = self._header, None
        return self._inflate.decompress(data, max_length)


def _has_whole_header(data: bytes) -> bool:
    """Return whether a member's header is complete (RFC 1952, section 2.3)."""
    if len(data) < _FIXED_HEADER_BYTES:
        return False
    flags, end = data[3], _FIXED_HEADER_BYTES
    if flags & _FEXTRA:
        end += 2 + int.from_bytes(data[end : end + 2], "little")
    for flag in (_FNAME, _FCOMMENT):
        if flags & flag:
            end = data.find(b"\0", end) + 1
            if not end:
                return False
    if flags & _FHCRC:
        end += 2
    return len(data) >= end


def _is_incompressible(data: bytes | memoryview) -> bool:
    """Compress a sample from the chunk's middle, behind a file's header."""
    start = len(data) // 2
    sample = data[start : start + _SAMPLE_BYTES]
    if len(sample) < _SAMPLE_BYTES:
        return False
    return len(isal_zlib.compress(sample, _LEVEL, _RAW_WINDOW_BITS)) > _INCOMPRESSIBLE_BYTES


def _stored(data: bytes | memoryview) -> bytes:
    parts: list[bytes | memoryview] = []
    for start in range(0, len(data), _STORED_BYTES):
        part = data[start : start + _STORED_BYTES]
        parts += (struct.pack("<BHH", _STORED, len(part), len(part) ^ 0xFFFF), part)
    return b"".join(parts)
