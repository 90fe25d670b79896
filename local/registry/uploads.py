"""Upload sessions: received bytes that are not a blob yet."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.registry.digests import Digest, algorithm_of, digest_of_file
from local.web.messages import BLOCK_BYTES, Body

_BUSY_SECONDS = 5.0


class BusyUploadError(RuntimeError):
    """Another request is still writing to the same session."""


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An open session, for tests."""

    repository: str
    id: str
    received_bytes: int


class UploadSession:
    """Writes a blob's bytes to a file in order and hashes them.

    Bytes before an aborted body's end are kept and counted in the offset, so that a client can
    continue there.
    """

    def __init__(self, repository: str, session_id: str, state: str, path: Path) -> None:
        self.repository = repository
        self.id = session_id
        self.state = state
        self.path = path
        self.received_bytes = 0
        self._sha256 = hashlib.sha256()
        self._lock = threading.Lock()
        path.touch()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Reserve the session for one request.

        Raises
        ------
        BusyUploadError
            Another request has reserved it for the last five seconds.
        """
        if not self._lock.acquire(timeout=_BUSY_SECONDS):
            message = f"another request is writing to the upload session {self.id}"
            raise BusyUploadError(message)
        try:
            yield
        finally:
            self._lock.release()

    def append(self, body: Body) -> int:
        """Append a body and return the count of its bytes.

        Raises
        ------
        AbortedBodyError
            The client disconnected. The received bytes are kept.
        """
        before = self.received_bytes
        block = memoryview(bytearray(BLOCK_BYTES))
        filled = 0
        with self.path.open("ab", buffering=0) as file:
            try:
                while count := body.readinto(block[filled:]):
                    filled += count
                    # chunks of clients can be small; writes are whole blocks
                    if filled == BLOCK_BYTES:
                        self._write(file, block)
                        filled = 0
            finally:
                self._write(file, block[:filled])
        return self.received_bytes - before

    def has_digest(self, digest: Digest) -> bool:
        """Return whether the bytes so far have the digest."""
        if algorithm_of(digest) == "sha256":
            return digest == f"sha256:{self._sha256.hexdigest()}"
        return digest == digest_of_file(self.path, algorithm_of(digest))

    def _write(self, file: io.FileIO, block: memoryview) -> None:
        file.write(block)
        self._sha256.update(block)
        self.received_bytes += len(block)
