"""Downloads of blobs: resumed where they broke off, by ranges where one connection is slow."""

from __future__ import annotations

import logging
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.copy.readahead import (
    READ_AHEAD,
    ReadAhead,
    ReadAheadLimits,
    WatchedReader,
)
from ecr_image_replicator.errors import DigestMismatchError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecr_image_replicator.model.digests import ByteReader
    from ecr_image_replicator.model.manifests import Descriptor
    from ecr_image_replicator.registry.blobs import BlobRequests

_LOGGER: Final = logging.getLogger(__name__)
#: A download that broke off after fewer bytes made no progress: its failures are counted.
_PROGRESS_BYTES: Final = 1024 * 1024


class Downloads:
    """The blobs that are being read from one repository.

    Parameters
    ----------
    requests
        For blobs of the repository.
    limits
        When a blob is read by ranges, at most one at a time.
    """

    def __init__(self, requests: BlobRequests, limits: ReadAheadLimits = READ_AHEAD) -> None:
        self._requests = requests
        self._limits = limits
        self._lock = threading.Lock()
        self._open = 0

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[ByteReader]:
        """Read a blob from its start to its end.

        Raises
        ------
        DigestMismatchError
            Whoever reads found other bytes than the digest's; the error names the repository.
        """
        with self._lock:
            self._open += 1
        try:
            reader: _ResumingReader | _LongReader
            if descriptor.size_bytes < self._limits.look_bytes + self._limits.least_left_bytes:
                reader = _ResumingReader(self._requests, descriptor)
            else:
                reader = _LongReader(self, self._requests, descriptor, self._limits)
            with closing(reader), self._named(descriptor):
                yield reader
        finally:
            with self._lock:
                self._open -= 1

    @contextmanager
    def _named(self, descriptor: Descriptor) -> Iterator[None]:
        """Name the blob's repository in the error for wrong bytes."""
        try:
            yield
        except DigestMismatchError as error:
            failed = f"cannot {self._requests.operation(descriptor)}: "
            raise DigestMismatchError(failed, *error.message, hint=error.hint) from error

    @property
    def is_single(self) -> bool:
        """Whether one blob is being read, so that no other needs the network."""
        return self._open == 1


class _LongReader:
    """A blob that is long enough to measure its download rate."""

    def __init__(
        self,
        downloads: Downloads,
        requests: BlobRequests,
        descriptor: Descriptor,
        limits: ReadAheadLimits,
    ) -> None:
        self._downloads = downloads
        self._requests = requests
        self._descriptor = descriptor
        self._limits = limits
        self._reader = _ResumingReader(requests, descriptor)
        self._watched: WatchedReader | None = WatchedReader(self._reader)
        self._ahead: ReadAhead | None = None

    def readinto(self, buffer: memoryview, /) -> int:
        if self._ahead is not None:
            count = self._ahead.readinto(buffer)
            if count or self._ahead.offset >= self._descriptor.size_bytes:
                return count
            self._continue_alone(self._ahead)
        if self._watched is None:
            return self._reader.readinto(buffer)
        count = self._watched.readinto(buffer)
        if self._watched.count_bytes >= self._limits.look_bytes:
            self._measure(self._watched)
        return count

    def _measure(self, watched: WatchedReader) -> None:
        self._watched = None
        if self._downloads.is_single and self._reader.has_ranges and watched.is_slow(self._limits):
            self._reader.close()
            self._ahead = ReadAhead(
                lambda start, end: closing(
                    _ResumingReader(self._requests, self._descriptor, start, end)
                ),
                self._reader.offset,
                self._descriptor.size_bytes,
                rate_before=watched.bytes_per_second,
                limits=self._limits,
            )
            _LOGGER.info(
                "reading a long blob by several ranges at once",
                extra={
                    "blob": str(self._descriptor.digest),
                    "bytes_per_second": round(watched.bytes_per_second),
                },
            )

    def _continue_alone(self, ahead: ReadAhead) -> None:
        """Read the rest over one connection."""
        _LOGGER.info("ranges are no faster", extra={"blob": str(self._descriptor.digest)})
        ahead.close()
        self._ahead = None
        self._reader = _ResumingReader(self._requests, self._descriptor, ahead.offset)

    def close(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
        self._reader.close()


class _ResumingReader:
    """A blob's bytes over as many responses as it takes."""

    def __init__(
        self,
        requests: BlobRequests,
        descriptor: Descriptor,
        start: int = 0,
        end: int | None = None,
    ) -> None:
        self._requests = requests
        self._descriptor = descriptor
        self._end = end
        self._stop = descriptor.size_bytes if end is None else end
        self.offset = start
        self._failures = 0
        self._failed_at = start
        self._response = requests.open(descriptor, start, end)

    @property
    def has_ranges(self) -> bool:
        """Whether the server announces that it supports ranges (RFC 9110, section 14.3)."""
        return self._response.header("accept-ranges").strip().lower() == "bytes"

    def readinto(self, buffer: memoryview, /) -> int:
        while True:
            try:
                count = self._read(buffer)
            except TransientError as error:
                if self.offset >= self._stop:
                    return 0  # all bytes are here, only the end of the message was lost
                self._resume(error)
            else:
                self.offset += count
                return count

    def _read(self, buffer: memoryview) -> int:
        count = self._response.readinto(buffer)
        if not count and self.offset < self._stop:
            raise TransientError(
                f"cannot connect to {self._requests.registry}: connection closed after "
                f"{self.offset} of {self._descriptor.size_bytes} bytes of blob "
                f"{self._descriptor.digest}"
            )
        return count

    def _resume(self, error: TransientError) -> None:
        self._response.close()
        if self.offset - self._failed_at >= _PROGRESS_BYTES:
            self._failures = 0
        self._failed_at = self.offset
        self._failures += 1
        self._requests.wait_after(self._failures, error)
        self._response = self._requests.open(self._descriptor, self.offset, self._end)

    def close(self) -> None:
        self._response.close()
