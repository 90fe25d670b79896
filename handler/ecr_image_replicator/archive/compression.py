"""Compressing and decompressing streams, in bounded memory.

Equal input always makes equal compressed output: level, chunks and headers are fixed, and no time
is in them; docs/decisions/0007-layers-compressed-on-the-way.md says how far that reaches.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol

from ecr_image_replicator.errors import InvalidArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecr_image_replicator.model.digests import ByteReader

#: What the compressor is given at once, which decides about its output.
COMPRESSION_CHUNK_BYTES: Final = 256 * 1024
_READ_BYTES: Final = 128 * 1024
_ZSTD_LEVEL: Final = 3
#: What xz -9 needs, and half of what zstd --long does.
MAX_WINDOW_BYTES: Final = 72 * 1024 * 1024
#: What zstd -19 needs; docs/decisions/0025-one-wide-window-at-a-time.md.
USUAL_WINDOW_BYTES: Final = 8 * 1024 * 1024
#: An end to decompression bombs: gzip's best is 1,032 times, of layers anybody runs a few dozen.
_MAX_EXPANSION: Final = 200
_FREE_EXPANSION_BYTES: Final = 1024**3


class Compression(Enum):
    """How a stream is compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    BZIP2 = "bzip2"
    XZ = "xz"

    @classmethod
    def of(cls, head: bytes) -> Compression:
        """Recognise a stream by its first bytes."""
        for magic, compression in _MAGIC.items():
            if head.startswith(magic):
                return compression
        return cls.NONE


_MAGIC: Final = {
    b"\x1f\x8b": Compression.GZIP,
    b"\x28\xb5\x2f\xfd": Compression.ZSTD,
    b"BZh": Compression.BZIP2,
    b"\xfd7zXZ\x00": Compression.XZ,
}
#: Enough to recognise every compression.
MAGIC_BYTES: Final = 6
#: Enough to tell zstd's window too (RFC 8878, section 3.1.1).
HEAD_BYTES: Final = 18


#: The largest windows that fit, as who compresses asks for them; the others' are always small.
_LARGEST_WINDOWS: Final = {
    (Compression.XZ, MAX_WINDOW_BYTES): "xz -9",
    (Compression.ZSTD, MAX_WINDOW_BYTES): "zstd --long=26",
    (Compression.ZSTD, USUAL_WINDOW_BYTES): "zstd -19",
}


class Compressor(Protocol):
    """A stream on its way to be compressed."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Take in one chunk, and give what of the output is ready."""

    def flush(self) -> bytes:
        """Give the rest of the output."""


def new_compressor(compression: Compression) -> Compressor:
    """Start a stream of gzip or zstd; it is to be fed `COMPRESSION_CHUNK_BYTES` at a time."""
    if compression is Compression.ZSTD:
        import zstandard  # noqa: PLC0415 - of use for archives only

        zstd: Compressor = zstandard.ZstdCompressor(_ZSTD_LEVEL, write_checksum=True).compressobj()
        return zstd
    from ecr_image_replicator.archive.gzip_stream import GzipCompressor  # noqa: PLC0415 - it imports isal

    return GzipCompressor()


def window_bytes(head: bytes) -> int:
    """Give the window that zstd's first frame needs, of a stream's first `HEAD_BYTES`; else 0."""
    if Compression.of(head) is not Compression.ZSTD:
        return 0
    import zstandard  # noqa: PLC0415 - of use for archives only

    try:
        return zstandard.get_frame_parameters(head).window_size
    except zstandard.ZstdError:
        return 0  # damaged, as whoever reads it will find


def decompressed(
    reader: ByteReader,
    compression: Compression,
    *,
    size_bytes: int | None,
    what: str,
    most_window_bytes: int = MAX_WINDOW_BYTES,
) -> ByteReader:
    """Decompress a stream as it is read.

    Parameters
    ----------
    size_bytes
        Of the compressed stream, for the bound on what may come out of it: 200 times as much, and
        a GiB at least.
    what
        For errors.
    most_window_bytes
        Of zstd's windows: `MAX_WINDOW_BYTES` or `USUAL_WINDOW_BYTES`.

    Returns
    -------
    ByteReader
        It raises InvalidArchiveError when the stream is damaged, ends early, needs more memory
        than is sensible, or passes the bound.
    """
    source = _Source(reader)
    inflated: ByteReader
    if compression is Compression.NONE:
        return reader
    if compression is Compression.ZSTD:
        inflated = _open_zstd(source, most_window_bytes)
    else:
        inflated = _Inflated(source, _DECOMPRESSORS[compression], compression)
    most_bytes = max(_FREE_EXPANSION_BYTES, (size_bytes or 0) * _MAX_EXPANSION)
    damage = _damage(compression, most_window_bytes)
    return _Bounded(inflated, most_bytes, f"{what}, compressed with {compression.value},", damage)


def _damage(compression: Compression, most_window_bytes: int) -> str:
    """Say what may be wrong with a stream that cannot be decompressed."""
    largest = _LARGEST_WINDOWS.get((compression, most_window_bytes))
    if largest is None:
        return "is damaged"
    return (
        f"is damaged or needs more than {most_window_bytes} bytes of memory; compressed with "
        f"{largest} it needs less"
    )


class _Decompressor(Protocol):
    """What isal, bz2 and lzma agree on."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _new_gzip() -> _Decompressor:
    from isal import igzip_lib  # noqa: PLC0415 - of use for archives only

    decompressor: _Decompressor = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)
    return decompressor


def _new_bzip2() -> _Decompressor:
    import bz2  # noqa: PLC0415 - of use for few archives only

    return bz2.BZ2Decompressor()


def _new_xz() -> _Decompressor:
    import lzma  # noqa: PLC0415 - of use for few archives only

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_WINDOW_BYTES)


_DECOMPRESSORS: Final[dict[Compression, Callable[[], _Decompressor]]] = {
    Compression.GZIP: _new_gzip,
    Compression.BZIP2: _new_bzip2,
    Compression.XZ: _new_xz,
}


def _open_zstd(source: _Source, most_window_bytes: int) -> ByteReader:
    import zstandard  # noqa: PLC0415 - of use for archives only

    decompressor = zstandard.ZstdDecompressor(max_window_size=most_window_bytes)
    file: Any = source  # the stub wants a whole file, and only read is called
    opened: ByteReader = decompressor.stream_reader(
        file, read_size=_READ_BYTES, read_across_frames=True, closefd=False
    )
    return opened


class _Source:
    """A reader as the libraries want it."""

    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader
        self._buffer = memoryview(bytearray(_READ_BYTES))

    def read(self, size: int = _READ_BYTES) -> bytes:
        return bytes(self._buffer[: self._reader.readinto(self._buffer[:size])])


class _Inflated:
    """gzip, bzip2 or xz, of one stream or several in a row."""

    def __init__(
        self, source: _Source, new: Callable[[], _Decompressor], compression: Compression
    ) -> None:
        self._source = source
        self._new = new
        self._compression = compression
        self._decompressor = new()

    def readinto(self, buffer: memoryview, /) -> int:
        data = b""
        while True:
            decompressor = self._decompressor
            if decompressor.eof:
                data = self._start_of_next(decompressor.unused_data)
                if not data:
                    return 0
                continue
            if decompressor.needs_input and not data:
                data = self._source.read()
                if not data:
                    raise EOFError
            output = decompressor.decompress(data, len(buffer))
            data = b""
            if output:
                buffer[: len(output)] = output
                return len(output)

    def _start_of_next(self, rest: bytes) -> bytes:
        """Go on to the next stream, if one follows; what else follows is padding."""
        while len(rest) < MAGIC_BYTES and (more := self._source.read()):
            rest += more
        if Compression.of(rest) is not self._compression:
            return b""
        self._decompressor = self._new()
        return rest


class _Bounded:
    """A decompressed stream that ends at a bound, and whose faults are errors of ours."""

    def __init__(self, reader: ByteReader, most_bytes: int, what: str, damage: str) -> None:
        self._reader = reader
        self._damage = damage
        self._left_bytes = most_bytes
        self._most_bytes = most_bytes
        self._what = what
        self._is_at_end = False

    def readinto(self, buffer: memoryview, /) -> int:
        if self._is_at_end:
            return 0
        try:
            count = self._reader.readinto(buffer)
        except EOFError as error:
            raise InvalidArchiveError(f"{self._what} is cut off") from error
        except _library_errors() as error:
            raise InvalidArchiveError(f"{self._what} {self._damage}") from error
        self._is_at_end = not count
        self._left_bytes -= count
        if self._left_bytes < 0:
            raise InvalidArchiveError(
                f"{self._what} expands to more than {self._most_bytes} bytes, which is taken for "
                "a decompression bomb"
            )
        return count


def _library_errors() -> tuple[type[BaseException], ...]:
    import lzma  # noqa: PLC0415 - of use for archives only

    import zstandard  # noqa: PLC0415 - of use for archives only
    from isal import igzip_lib  # noqa: PLC0415 - of use for archives only

    errors: Any = (igzip_lib.IsalError, zstandard.ZstdError, lzma.LZMAError, OSError, ValueError)
    return tuple(errors)
