"""The size of the output of `sam build`, which a new execution environment downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.images import MEBIBYTE
from benchmarks.tables import markdown_table

_BUILD: Final = Path(__file__).parent.parent / ".aws-sam" / "build"


def table() -> str:
    """Render the size of the function and of each layer, unpacked.

    Raises
    ------
    FileNotFoundError
        It was not built.
    """
    lines = [
        (folder.name, f"{_size_bytes(folder) / MEBIBYTE:.1f}")
        for folder in sorted(_BUILD.iterdir())
        if folder.is_dir()
    ]
    return f"### Size, as sam build makes it\n\n{markdown_table(('', 'MiB unpacked'), lines)}"


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
