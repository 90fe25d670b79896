"""Compressing and decompressing streams in bounded memory.

Equal input always gives equal compressed output: level and chunk size are fixed, and the header has
no time; docs/decisions/0006-stream-layers-through-isa-l-gzip.md.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol

from ecr_image_replicator.errors import InvalidArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecr_image_replicator.model.digests import ByteReader

#: The input of one call of the compressor; another size would give other output.
COMPRESSION_CHUNK_BYTES: Final = 256 * 1024
_READ_BYTES: Final = 128 * 1024
_ZSTD_LEVEL: Final = 3
#: The window of xz -9; zstd --long=27 needs twice as much.
MAX_WINDOW_BYTES: Final = 72 * 1024 * 1024
#: The window of zstd -19; docs/decisions/0019-open-one-wide-zstd-window-at-a-time.md.
USUAL_WINDOW_BYTES: Final = 8 * 1024 * 1024
#: Limits decompression bombs: gzip reaches 1,032 times, real layers a few dozen times.
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
        return cls.ZSTD if _is_skippable(head) else cls.NONE


_MAGIC: Final = {
    b"\x1f\x8b": Compression.GZIP,
    b"\x28\xb5\x2f\xfd": Compression.ZSTD,
    b"BZh": Compression.BZIP2,
    b"\xfd7zXZ\x00": Compression.XZ,
}
#: Of a zstd frame without data, which pzstd writes first (RFC 8878, section 3.1.2).
_SKIPPABLE: Final = b"\x2a\x4d\x18"
#: Enough to recognise every compression.
MAGIC_BYTES: Final = 6
#: Enough for the header of a zstd frame too, which has its window (RFC 8878, section 3.1.1).
HEAD_BYTES: Final = 18

#: What to do about an archive that is truncated or damaged.
SAVE_AGAIN: Final = "Save or upload the archive again."
#: The compressor options with the largest windows that fit.
_LARGEST_WINDOWS: Final = {
    (Compression.XZ, MAX_WINDOW_BYTES): "xz -9",
    (Compression.ZSTD, MAX_WINDOW_BYTES): "zstd --long=26",
    (Compression.ZSTD, USUAL_WINDOW_BYTES): "zstd -19",
}


class Compressor(Protocol):
    """A compressor of one stream."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Compress one chunk, and return the output that is ready."""

    def flush(self) -> bytes:
        """Return the rest of the output."""


def new_compressor(compression: Compression) -> Compressor:
    """Start a stream of gzip or zstd; the caller passes `COMPRESSION_CHUNK_BYTES` at a time."""
    if compression is Compression.ZSTD:
        import zstandard  # noqa: PLC0415 - only archives need it

        zstd: Compressor = zstandard.ZstdCompressor(_ZSTD_LEVEL, write_checksum=True).compressobj()
        return zstd
    from ecr_image_replicator.archive.gzip_stream import GzipCompressor  # noqa: PLC0415 - imports isal

    return GzipCompressor()


def _is_skippable(head: bytes) -> bool:
    """Return whether a zstd stream begins with a frame without data."""
    return head[1:4] == _SKIPPABLE and 0x50 <= head[0] <= 0x5F


def window_bytes(head: bytes) -> int:
    """Return the window of a zstd stream's first frame, by the stream's first `HEAD_BYTES`.

    0 for other compressions; the maximum if the window is not in these bytes.
    """
    if _is_skippable(head):
        return MAX_WINDOW_BYTES
    if Compression.of(head) is not Compression.ZSTD:
        return 0
    import zstandard  # noqa: PLC0415 - only archives need it

    try:
        return zstandard.get_frame_parameters(head).window_size
    except zstandard.ZstdError:
        return 0  # damaged: decompressing it fails


def decompressed(
    reader: ByteReader,
    compression: Compression,
    *,
    size_bytes: int | None,
    what: str,
    most_window_bytes: int = MAX_WINDOW_BYTES,
) -> ByteReader:
    """Decompress a stream while it is read.

    Parameters
    ----------
    size_bytes
        Of the compressed stream; it may expand to 200 times as much, and to 1 GiB in any case.
    what
        Begins the messages of errors: what cannot be read.
    most_window_bytes
        The largest window of zstd: `MAX_WINDOW_BYTES` or `USUAL_WINDOW_BYTES`.

    Returns
    -------
    ByteReader
        Raises InvalidArchiveError when the stream is damaged, truncated, needs a larger window, or
        expands further.
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
    return _Bounded(inflated, most_bytes, f"{what}: {compression.value} data", damage)


def _damage(compression: Compression, most_window_bytes: int) -> tuple[str, str]:
    """Return what may be wrong with a stream that cannot be decompressed, and what to do."""
    largest = _LARGEST_WINDOWS.get((compression, most_window_bytes))
    if largest is None:
        return "damaged", ""
    return (
        f"damaged, or compressed with a window of more than {most_window_bytes} bytes",
        f"Compress it with a smaller window, such as that of {largest}.",
    )


class _Decompressor(Protocol):
    """The common interface of isal, bz2 and lzma."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _new_gzip() -> _Decompressor:
    from ecr_image_replicator.archive.gzip_stream import GzipDecompressor  # noqa: PLC0415 - imports isal

    return GzipDecompressor()


def _new_bzip2() -> _Decompressor:
    import bz2  # noqa: PLC0415 - few archives need it

    return bz2.BZ2Decompressor()


def _new_xz() -> _Decompressor:
    import lzma  # noqa: PLC0415 - few archives need it

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_WINDOW_BYTES)


_DECOMPRESSORS: Final[dict[Compression, Callable[[], _Decompressor]]] = {
    Compression.GZIP: _new_gzip,
    Compression.BZIP2: _new_bzip2,
    Compression.XZ: _new_xz,
}


def _open_zstd(source: _Source, most_window_bytes: int) -> ByteReader:
    import zstandard  # noqa: PLC0415 - only archives need it

    decompressor = zstandard.ZstdDecompressor(max_window_size=most_window_bytes)
    file: Any = source  # typed as a file, of which only read is called
    opened: ByteReader = decompressor.stream_reader(
        file, read_size=_READ_BYTES, read_across_frames=True, closefd=False
    )
    return opened


class _Source:
    """A reader with the interface that the libraries expect."""

    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader
        self._buffer = memoryview(bytearray(_READ_BYTES))

    def read(self, size: int = _READ_BYTES) -> bytes:
        return bytes(self._buffer[: self._reader.readinto(self._buffer[:size])])


class _Inflated:
    """A reader of gzip, bzip2 or xz, of one stream or several in a row."""

    def __init__(
        self, source: _Source, new: Callable[[], _Decompressor], compression: Compression
    ) -> None:
        self._source = source
        self._new = new
        self._compression = compression
        self._decompressor = new()

    def readinto(self, buffer: memoryview, /) -> int:
        if not len(buffer):
            return 0  # a limit of no bytes would make no progress
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
        """Continue with the next stream if one follows; anything else is padding.

        Zeros may stand between streams (The .xz File Format, section 2.2, "Stream Padding").
        """
        while len(rest := rest.lstrip(b"\0")) < MAGIC_BYTES and (more := self._source.read()):
            rest += more
        if Compression.of(rest) is not self._compression:
            return b""
        self._decompressor = self._new()
        return rest


class _Bounded:
    """A decompressed stream with a size limit, which raises this program's errors."""

    def __init__(
        self, reader: ByteReader, most_bytes: int, what: str, damage: tuple[str, str]
    ) -> None:
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
            raise InvalidArchiveError(f"{self._what} is truncated", hint=SAVE_AGAIN) from error
        except _library_errors() as error:
            damage, hint = self._damage
            raise InvalidArchiveError(f"{self._what} is {damage}", hint=hint) from error
        self._is_at_end = not count
        self._left_bytes -= count
        if self._left_bytes < 0:
            raise InvalidArchiveError(
                f"{self._what} expands to more than {self._most_bytes} bytes and looks like a "
                "decompression bomb"
            )
        return count


def _library_errors() -> tuple[type[BaseException], ...]:
    import lzma  # noqa: PLC0415 - only archives need it

    import zstandard  # noqa: PLC0415 - only archives need it
    from isal import igzip_lib  # noqa: PLC0415 - only archives need it

    errors: Any = (igzip_lib.IsalError, zstandard.ZstdError, lzma.LZMAError, OSError, ValueError)
    return tuple(errors)
