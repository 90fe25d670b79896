"""Digests, and streams that verify them.

OCI image specification 1.1, "Descriptors", section "Digests".
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ecr_image_replicator.errors import DigestMismatchError, InvalidDigestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ENCODED_LENGTHS: Final = {"sha256": 64, "sha512": 128}
_HEX: Final = re.compile(r"[0-9a-f]+")


class Hasher(Protocol):
    """A hash object of :mod:`hashlib`."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Hash more bytes."""

    def hexdigest(self) -> str:
        """Return the hash of all bytes so far, in lowercase hexadecimal."""


class Digest(NamedTuple):
    """A digest, ``algorithm:encoded``; sha256 and sha512 are supported."""

    algorithm: str
    encoded: str

    def __hash__(self) -> int:
        return hash(self.encoded)  # a string computes its hash once

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Parse ``sha256:<64 hex>`` or ``sha512:<128 hex>``.

        Raises
        ------
        InvalidDigestError
            Anything else.
        """
        algorithm, _, encoded = text.partition(":") if isinstance(text, str) else ("", "", "")
        length = _ENCODED_LENGTHS.get(algorithm)
        if length is None or len(encoded) != length or not _HEX.fullmatch(encoded):
            # a value of another type may be nested too deeply for repr
            shown = repr(text) if isinstance(text, str) else f"a {type(text).__name__}"
            raise InvalidDigestError(
                f"invalid digest {shown if len(shown) <= 160 else shown[:157] + '...'}",
                hint="Use sha256: and 64 lowercase hexadecimal digits.",
            )
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, content: bytes | memoryview, algorithm: str = "sha256") -> Digest:
        """Return the digest of the content."""
        return cls(algorithm, hashlib.new(algorithm, content, usedforsecurity=True).hexdigest())

    def names(self, content: bytes | memoryview) -> bool:
        """Return whether this is the digest of the content."""
        return Digest.of(content, self.algorithm) == self

    def new_hasher(self) -> Hasher:
        """Return a new hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"


class ByteReader(Protocol):
    """A readable stream of bytes."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Read into the start of the buffer; return the number of bytes, 0 at the end."""


class BytesReader:
    """A reader of bytes in memory."""

    def __init__(self, content: bytes) -> None:
        self._left = memoryview(content)

    def readinto(self, buffer: memoryview, /) -> int:
        """Read into the start of the buffer; return the number of bytes, 0 at the end."""
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


class VerifiedStream:
    """The bytes of one blob, verified by length and digest.

    Iterating yields views of the one buffer; each is valid until the next one is requested. The
    last view is withheld until everything is verified, so that a sender never completes a message
    with wrong bytes. It can be iterated once.

    Parameters
    ----------
    reader
        The source of the bytes.
    digest
        The expected digest.
    size_bytes
        The expected length.
    buffer
        At least one byte; the only memory that the stream uses.
    on_bytes
        Called with the length of each view.
    on_end
        Called when the last view was consumed.
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
        """The expected digest."""
        return self._digest

    def __len__(self) -> int:
        return self._size_bytes

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the bytes.

        Raises
        ------
        DigestMismatchError
            The blob is too short, too long, or has another digest.
        """
        hasher = self._digest.new_hasher()
        left = self._size_bytes
        view = self._buffer[:0]
        while left:
            count = self._reader.readinto(self._buffer[:left])
            if not count:
                raise self._mismatch(f"it ended {left} bytes early")
            view = self._buffer[:count]
            hasher.update(view)
            left -= count
            if left:
                self._on_bytes(count)
                yield view
        surplus = bytearray(1)
        if self._reader.readinto(memoryview(surplus)):
            raise self._mismatch("it is longer")
        if hasher.hexdigest() != self._digest.encoded:
            raise self._mismatch(f"received {self._digest.algorithm}:{hasher.hexdigest()}")
        if self._size_bytes:
            self._on_bytes(len(view))
            yield view
        self._on_end()

    def _mismatch(self, found: str) -> DigestMismatchError:
        return DigestMismatchError(
            f"digest mismatch, expected {self._digest} of {self._size_bytes} bytes, {found}",
            hint="Push the image to the source again: its copy there is corrupt.",
        )


def read_verified(reader: ByteReader, digest: Digest, size_bytes: int) -> bytes:
    """Read and verify a whole small blob.

    Raises
    ------
    DigestMismatchError
        The bytes have another digest or length.
    """
    buffer = memoryview(bytearray(max(1, size_bytes)))
    stream = VerifiedStream(reader, digest, size_bytes, buffer=buffer, on_bytes=lambda _: None)
    return b"".join(bytes(view) for view in stream)
