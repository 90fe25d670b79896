"""Content addresses: digests and streams that prove them.

OCI image specification 1.1, "Descriptors", section "Digests".
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from ecr_image_replicator.errors import DigestMismatchError, InvalidDigestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ENCODED_LENGTHS: Final = {"sha256": 64, "sha512": 128}
_HEX: Final = re.compile(r"[0-9a-f]+")


class Hasher(Protocol):
    """The part of a :mod:`hashlib` object that is used here."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take in more bytes."""

    def hexdigest(self) -> str:
        """Give the hash of all bytes so far, in lowercase hexadecimal."""


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A content address, ``algorithm:encoded``; sha256 and sha512 are known."""

    algorithm: str
    encoded: str

    def __hash__(self) -> int:
        return hash(self.encoded)  # which a string works out once

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Read ``sha256:<64 hex>`` or ``sha512:<128 hex>``.

        Raises
        ------
        InvalidDigestError
            Anything else.
        """
        algorithm, _, encoded = text.partition(":") if isinstance(text, str) else ("", "", "")
        length = _ENCODED_LENGTHS.get(algorithm)
        if length is None or len(encoded) != length or not _HEX.fullmatch(encoded):
            # what is no text may be nested too deeply to be shown
            shown = repr(text) if isinstance(text, str) else f"a {type(text).__name__}"
            raise InvalidDigestError(
                f"{shown if len(shown) <= 160 else shown[:157] + '...'} is not a digest; "
                "one looks like sha256: and 64 lowercase hexadecimal digits"
            )
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, content: bytes | memoryview, algorithm: str = "sha256") -> Digest:
        """Address the content as it is."""
        return cls(algorithm, hashlib.new(algorithm, content, usedforsecurity=True).hexdigest())

    def names(self, content: bytes | memoryview) -> bool:
        """Tell whether this is the content's address."""
        return Digest.of(content, self.algorithm) == self

    def new_hasher(self) -> Hasher:
        """Start a hash of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"


class ByteReader(Protocol):
    """Bytes as they arrive."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer from its start as far as bytes come; 0 is the end."""


class BytesReader:
    """Bytes that are at hand, as a reader."""

    def __init__(self, content: bytes) -> None:
        self._left = memoryview(content)

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer from its start as far as there are bytes."""
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


class VerifiedStream:
    """The bytes of one blob, that come to an end only if length and digest are right.

    Iterating gives views of the one buffer, each valid until the next is asked for. The last view
    is withheld until everything was verified, so that whoever sends the views on never completes
    a message with wrong bytes. It can be iterated once.

    Parameters
    ----------
    reader
        Where the bytes come from.
    digest
        What they must hash to.
    size_bytes
        How many they must be.
    buffer
        At least one byte; all memory that the stream uses.
    on_bytes
        Told the length of each view.
    on_end
        Told that the last view was taken and is not needed any more.
    """

    def __init__(
        self,
        reader: ByteReader,
        digest: Digest,
        size_bytes: int,
        *,
        buffer: memoryview,
        on_bytes: Callable[[int], None],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._reader = reader
        self._digest = digest
        self._size_bytes = size_bytes
        self._buffer = buffer
        self._on_bytes = on_bytes
        self._on_end = on_end

    @property
    def digest(self) -> Digest:
        """What the bytes hash to, if they come to an end."""
        return self._digest

    def __len__(self) -> int:
        return self._size_bytes

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the bytes.

        Raises
        ------
        DigestMismatchError
            They end early, go on too long, or hash to something else.
        """
        hasher = self._digest.new_hasher()
        left = self._size_bytes
        view = self._buffer[:0]
        while left:
            count = self._reader.readinto(self._buffer[:left])
            if not count:
                raise self._mismatch(f"ended {left} bytes early")
            view = self._buffer[:count]
            hasher.update(view)
            left -= count
            if left:
                self._on_bytes(count)
                yield view
        surplus = bytearray(1)
        if self._reader.readinto(memoryview(surplus)):
            raise self._mismatch("goes on after its end")
        if hasher.hexdigest() != self._digest.encoded:
            raise self._mismatch(f"hashes to {self._digest.algorithm}:{hasher.hexdigest()}")
        if self._size_bytes:
            self._on_bytes(len(view))
            yield view
        self._on_end()

    def _mismatch(self, found: str) -> DigestMismatchError:
        return DigestMismatchError(
            f"the blob {self._digest} of {self._size_bytes} bytes from the source {found}; "
            "the source is corrupt or was tampered with, nothing was tagged"
        )


def read_verified(reader: ByteReader, digest: Digest, size_bytes: int) -> bytes:
    """Read a small blob whole.

    Raises
    ------
    DigestMismatchError
        The bytes are not the digest's.
    """
    buffer = memoryview(bytearray(max(1, size_bytes)))
    stream = VerifiedStream(reader, digest, size_bytes, buffer=buffer, on_bytes=lambda _: None)
    return b"".join(bytes(view) for view in stream)
