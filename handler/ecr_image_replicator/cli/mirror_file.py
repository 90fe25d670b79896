"""The files of the ``mirror`` command: the mirror itself, its state and its report."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from ecr_image_replicator.errors import RequestError

_MAX_BYTES: Final = 4 * 1024 * 1024


def read_mirror_file(path: Path) -> dict[str, Any]:
    """Read a mirror's properties from a YAML or JSON file.

    Every scalar stays a text, as CloudFormation delivers it: YAML would read the tag ``1.10`` as
    the number 1.1.

    Raises
    ------
    RequestError
        The file cannot be read, or is neither YAML nor JSON.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise RequestError(f"invalid mirror file {path}: it is larger than 4 MiB")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise RequestError(f"invalid mirror file {path}: {reason}") from error
    document = _parse_json(text) if text.lstrip().startswith("{") else None
    if document is None:
        document = _parse_yaml(path, text)
    if not isinstance(document, dict):
        raise RequestError(
            f"invalid mirror file {path}: it is not a map of properties",
            hint="Begin with Images: or Repositories:.",
        )
    return document


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, parse_float=str)
    except (ValueError, RecursionError):
        return None


def _parse_yaml(path: Path, text: str) -> Any:
    import yaml  # noqa: PLC0415 - only mirrors need it

    try:
        return yaml.load(text, yaml.BaseLoader)  # noqa: S506 - it builds texts, lists and maps only
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise RequestError(f"invalid mirror file {path}: {problem}{line}") from error
    except RecursionError as error:
        raise RequestError(f"invalid mirror file {path}: it is nested too deeply") from error


def read_state(path: Path | None) -> bytes | None:
    """Read a state file; None for one that does not exist yet.

    Raises
    ------
    RequestError
        It cannot be read.
    """
    if path is None or not path.exists():
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise RequestError(f"invalid state file {path}: {error.strerror}") from error


def write_file(path: Path, content: bytes) -> None:
    """Replace a file at once, so that an interruption leaves the old or the new one.

    Raises
    ------
    RequestError
        It cannot be written.
    """
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            file.write(content)
        os.chmod(file.name, 0o644)  # noqa: PTH101 - as other programs write files
        Path(file.name).replace(path)
    except OSError as error:
        raise RequestError(f"invalid output file {path}: {error.strerror}") from error
