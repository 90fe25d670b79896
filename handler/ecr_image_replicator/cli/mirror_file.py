"""The files of the ``mirror`` command: the mirror itself, its state and its report."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MAX_BYTES: Final = 4 * 1024 * 1024


def read_mirror_file(path: Path) -> dict[str, Any]:
    """Read a mirror's properties from a YAML or JSON file.

    Every scalar stays a text, as CloudFormation delivers it: YAML would read the tag ``1.10`` as
    the number 1.1.

    Raises
    ------
    RequestError
        The file cannot be read, is neither YAML nor JSON, or has a key twice.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise RequestError(f"invalid mirror file {path}: it is larger than 4 MiB")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise RequestError(f"invalid mirror file {path}: {reason}") from error
    document = _parse_json(path, text) if text.lstrip().startswith("{") else None
    if document is None:
        document = _parse_yaml(path, text)
    if not isinstance(document, dict):
        raise RequestError(
            f"invalid mirror file {path}: it is not a map of properties",
            hint="Begin with Images: or Repositories:.",
        )
    return document


def _parse_json(path: Path, text: str) -> Any:
    def read_map(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if twice := _find_duplicate([key for key, _ in pairs]):
            raise RequestError(f"invalid mirror file {path}: duplicate key {twice!r}")
        return dict(pairs)

    try:
        return json.loads(text, parse_float=str, parse_int=str, object_pairs_hook=read_map)
    except (ValueError, RecursionError):
        return None


def _parse_yaml(path: Path, text: str) -> Any:
    import yaml  # noqa: PLC0415 - only mirrors need it

    class Loader(yaml.BaseLoader):  # builds texts, lists and maps only
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
            # PyYAML keeps the last of several, and drops half of a mirror
            if twice := _find_duplicate([str(key.value) for key, _ in node.value]):
                raise yaml.MarkedYAMLError(
                    problem=f"duplicate key {twice!r}", problem_mark=node.start_mark
                )
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)  # noqa: S506 - a subclass of BaseLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        parts = [getattr(error, "context", None), getattr(error, "problem", None)]
        problem = " ".join(filter(None, parts)) or "it cannot be parsed"
        raise RequestError(f"invalid mirror file {path}: {problem}{line}") from error
    except RecursionError as error:
        raise RequestError(f"invalid mirror file {path}: it is nested too deeply") from error


def _find_duplicate(keys: Sequence[str]) -> str:
    return next((key for key, count in Counter(keys).items() if count > 1), "")


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


def check_outputs(report: Path | None, state: Path | None) -> None:
    """Check that the files can be written, before the run whose results they take.

    Raises
    ------
    RequestError
        One of them cannot, or both are one file.
    """
    paths = [path for path in (report, state) if path is not None]
    for path in paths:
        _check_output(path)
    if len({path.resolve() for path in paths}) < len(paths):
        raise RequestError(f"invalid output file {report}: --report and --state name the same file")


def _check_output(path: Path) -> None:
    reason = 0
    if path.is_dir():
        reason = errno.EISDIR
    elif not path.parent.is_dir():
        reason = errno.ENOENT
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        reason = errno.EACCES
    if reason:
        raise RequestError(f"invalid output file {path}: {os.strerror(reason)}")


def write_file(path: Path, content: bytes) -> None:
    """Replace a file at once, so that an interruption leaves the old or the new one.

    A device, a pipe or a symbolic link is written to, and stays what it is.

    Raises
    ------
    RequestError
        It cannot be written.
    """
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_bytes(content)
        else:
            _replace(path, content)
    except OSError as error:
        raise RequestError(f"invalid output file {path}: {error.strerror}") from error


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except OSError as error:
        # a file that is mounted alone, or whose directory is read-only, cannot be replaced
        if error.errno not in {errno.EACCES, errno.EBUSY, errno.EPERM, errno.EROFS}:
            raise
        path.write_bytes(content)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
