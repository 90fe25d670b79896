"""Digests of content (OCI image specification, "Digests")."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NewType

Digest = NewType("Digest", str)
"""`sha256:` and 64, or `sha512:` and 128, lower-case hexadecimal characters."""

_FORMS = {
    "sha256": re.compile(r"sha256:[0-9a-f]{64}"),
    "sha512": re.compile(r"sha512:[0-9a-f]{128}"),
}


class DigestError(ValueError):
    """A text is not a digest of a known algorithm."""


def parse_digest(text: str) -> Digest:
    """Return the text as a digest.

    Raises
    ------
    DigestError
        The algorithm is neither sha256 nor sha512, or the value is invalid.
    """
    form = _FORMS.get(text.partition(":")[0])
    if form is None or not form.fullmatch(text):
        message = f"not a sha256 or sha512 digest: {text[:200]!r}"
        raise DigestError(message)
    return Digest(text)


def algorithm_of(digest: Digest) -> str:
    """Return `sha256` or `sha512`."""
    return digest.partition(":")[0]


def digest_of(content: bytes, algorithm: str = "sha256") -> Digest:
    """Return the digest of bytes."""
    return Digest(f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")


def digest_of_file(path: Path, algorithm: str) -> Digest:
    """Return the digest of a file's content, read in blocks."""
    with path.open("rb") as file:
        return Digest(f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}")
