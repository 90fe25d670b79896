"""Layers as files, which can be larger than memory."""

from __future__ import annotations

import hashlib
import random
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from local.registry.digests import Digest

LargeContent = Literal["random", "text", "mixed", "zeros"]

_BLOCK_BYTES = 1024 * 1024
_WORDS = 4096


@dataclass(frozen=True, slots=True)
class LayerFile:
    """An uncompressed layer on disk."""

    path: Path
    diff_id: Digest


def build_large_layer(
    path: Path, size_bytes: int, seed: int, content: LargeContent = "mixed"
) -> LayerFile:
    """Write a layer of one file.

    `random` is incompressible, `text` compresses about six to one, `mixed` alternates between both
    per MiB, and `zeros` is a sparse file.
    """
    entry = tarfile.TarInfo(f"large-{seed}")
    entry.size = size_bytes
    with path.open("wb") as file:
        file.write(entry.tobuf(tarfile.USTAR_FORMAT))
        if content != "zeros":
            for block in _blocks(size_bytes, seed, content):
                file.write(block)
        # a hole reads as zeros and takes no space
        file.truncate(-(-(tarfile.BLOCKSIZE + size_bytes) // _BLOCK_BYTES + 1) * _BLOCK_BYTES)
    with path.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return LayerFile(path, Digest(f"sha256:{digest}"))


def _blocks(size_bytes: int, seed: int, content: LargeContent) -> Iterator[bytes]:
    generator = random.Random(seed)
    words = [b"%d " % generator.randrange(10**9) for _ in range(_WORDS)]
    for number, start in enumerate(range(0, size_bytes, _BLOCK_BYTES)):
        length = min(_BLOCK_BYTES, size_bytes - start)
        if content == "random" or (content == "mixed" and number % 2):
            yield generator.randbytes(length)
        else:
            yield b"".join(generator.choices(words, k=_BLOCK_BYTES // 4))[:length]
