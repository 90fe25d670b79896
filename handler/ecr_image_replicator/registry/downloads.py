"""Blobs as they come: resumed where they broke off, by ranges where one connection is slow."""

from __future__ import annotations

import logging
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from ecr_image_replicator.copy.readahead import (
    READ_AHEAD,
    ReadAhead,
    ReadAheadLimits,
    WatchedReader,
)
from ecr_image_replicator.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecr_image_replicator.model.digests import ByteReader
    from ecr_image_replicator.model.manifests import Descriptor
    from ecr_image_replicator.registry.http.messages import StreamedResponse

_LOGGER: Final = logging.getLogger(__name__)
#: A download that broke off after fewer bytes has not come on, and is not tried for ever.
_PROGRESS_BYTES: Final = 1024 * 1024


class BlobRequests(Protocol):
    """A repository whose blobs are asked for; what the methods promise stands in `source`."""

    def request_blob(
        self, descriptor: Descriptor, offset: int, end: int | None = None
    ) -> StreamedResponse:
        """Ask for a blob's bytes from an offset on; the response stands at that byte."""

    def wait_after(self, attempt: int, error: TransientError) -> None:
        """Wait before a broken download goes on."""


class Downloads:
    """The blobs that are being read from one repository.

    Parameters
    ----------
    requests
        Asks for them.
    limits
        When one is read by ranges, which one at a time may be.
    """

    def __init__(self, requests: BlobRequests, limits: ReadAheadLimits = READ_AHEAD) -> None:
        self._requests = requests
        self._limits = limits
        self._lock = threading.Lock()
        self._open = 0

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[ByteReader]:
        """Read a blob from its start to its end."""
        with self._lock:
            self._open += 1
        try:
            if descriptor.size_bytes < self._limits.look_bytes + self._limits.least_left_bytes:
                with closing(_ResumingReader(self._requests, descriptor)) as short:
                    yield short
            else:
                with closing(_LongReader(self, self._requests, descriptor, self._limits)) as long:
                    yield long
        finally:
            with self._lock:
                self._open -= 1

    @property
    def is_single(self) -> bool:
        """Whether one blob is read at present, so that no other wants the network."""
        return self._open == 1


class _LongReader:
    """A blob that is long enough to look at how fast it comes."""

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
            self._go_on_alone(self._ahead)
        if self._watched is None:
            return self._reader.readinto(buffer)
        count = self._watched.readinto(buffer)
        if self._watched.count_bytes >= self._limits.look_bytes:
            self._look(self._watched)
        return count

    def _look(self, watched: WatchedReader) -> None:
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
                "a long blob is read by several ranges at once",
                extra={
                    "blob": str(self._descriptor.digest),
                    "bytes_per_second": round(watched.bytes_per_second),
                },
            )

    def _go_on_alone(self, ahead: ReadAhead) -> None:
        """Read what is left over one connection."""
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
        self._response = requests.request_blob(descriptor, start, end)

    @property
    def has_ranges(self) -> bool:
        """Whether the server says that it gives ranges (RFC 9110, section 14.3)."""
        return self._response.header("accept-ranges").strip().lower() == "bytes"

    def readinto(self, buffer: memoryview, /) -> int:
        while True:
            try:
                count = self._read(buffer)
            except TransientError as error:
                if self.offset >= self._stop:
                    return 0  # only the end of the message was lost
                self._resume(error)
            else:
                self.offset += count
                return count

    def _read(self, buffer: memoryview) -> int:
        count = self._response.readinto(buffer)
        if not count and self.offset < self._stop:
            raise TransientError(
                f"the source closed the connection {self.offset} bytes into the blob "
                f"{self._descriptor.digest} of {self._descriptor.size_bytes} bytes"
            )
        return count

    def _resume(self, error: TransientError) -> None:
        self._response.close()
        if self.offset - self._failed_at >= _PROGRESS_BYTES:
            self._failures = 0
        self._failed_at = self.offset
        self._failures += 1
        self._requests.wait_after(self._failures, error)
        self._response = self._requests.request_blob(self._descriptor, self.offset, self._end)

    def close(self) -> None:
        self._response.close()
