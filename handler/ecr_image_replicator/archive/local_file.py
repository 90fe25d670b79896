"""A local file, read by ranges like an object in S3; for the command line."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from ecr_image_replicator.errors import ImageNotFoundError, InvalidArchiveError, NotAllowedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecr_image_replicator.model.archive_references import ArchiveReference
    from ecr_image_replicator.model.digests import ByteReader


class LocalFile:
    """A file on this machine; safe for several threads, each of which opens it.

    Parameters
    ----------
    reference
        Names the file; ``~`` is the user's home directory.
    """

    is_sequential: Final = False
    etag: Final = ""

    def __init__(self, reference: ArchiveReference) -> None:
        self._location = reference.location
        self._path = Path(reference.path)
        with suppress(RuntimeError):  # no such user: the file is not found
            self._path = self._path.expanduser()
        self._identity: tuple[int, ...] | None = None
        self.size_bytes: int | None = None

    def read_range(self, offset: int, length: int) -> bytes:
        """Read a range, fewer bytes at the file's end.

        Raises
        ------
        ImageNotFoundError
            The file does not exist.
        NotAllowedError
            The file may not be read.
        InvalidArchiveError
            It is not a regular file, or it was changed since the first read.
        """
        with self._open() as file:
            file.seek(offset)
            return file.read(length)

    @contextmanager
    def open_range(self, offset: int, length: int) -> Iterator[ByteReader]:
        """Start reading a range."""
        with self._open() as file:
            file.seek(offset)
            yield _FileRange(file, length)

    def _open(self) -> BinaryIO:
        try:
            file = self._path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise ImageNotFoundError(
                f"cannot read {self._location}: file not found", hint="Check the path."
            ) from error
        except PermissionError as error:
            raise NotAllowedError(
                f"cannot read {self._location}: not allowed by the file's permissions"
            ) from error
        except OSError as error:
            raise self._invalid(error.strerror or "it cannot be opened") from error
        try:
            self._check(os.fstat(file.fileno()))
        except BaseException:
            file.close()
            raise
        return file

    def _check(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise self._invalid("not a regular file")
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if self._identity not in {None, identity}:
            raise self._invalid("the file was changed while it was read")
        self._identity = identity
        self.size_bytes = found.st_size

    def _invalid(self, found: str) -> InvalidArchiveError:
        return InvalidArchiveError(f"invalid archive {self._location}: {found}")


class _FileRange:
    """The bytes of a range."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file = file
        self._left = length

    def readinto(self, buffer: memoryview, /) -> int:
        count: int = self._file.readinto(buffer[: self._left])  # type: ignore[attr-defined]
        self._left -= count
        return count
