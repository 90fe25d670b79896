"""The engine's log records as lines beside the progress."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import ReplicationError
from ecr_image_replicator.sanitize import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ecr_image_replicator.errors import Name

ENGINE: Final = "ecr_image_replicator"
#: At DEBUG these log presigned URLs and tokens.
_LIBRARIES: Final = ("boto3", "botocore", "requests", "s3transfer", "urllib3")
#: Fields of a log record that a reader needs beside its message.
_DETAILS: Final = ("referrer", "why", "digest", "subject")


@contextlib.contextmanager
def shown_logs(
    show: Callable[[str], None],
    level: int,
    name_of: Callable[[Name], str],
    packages: Mapping[str, int] | None = None,
) -> Iterator[None]:
    """Print the engine's log records, and none of the libraries'.

    Parameters
    ----------
    show
        Prints a line.
    level
        The lowest level that is printed.
    name_of
        Renders the errors in records, as for `ReplicationError.render`.
    packages
        Another level for some of the engine's packages.
    """
    lines = _LogLines(show, level, name_of)
    engine = logging.getLogger(ENGINE)
    engine.addHandler(lines)
    engine.setLevel(level)
    engine.propagate = False
    for name, its_level in (packages or {}).items():
        logging.getLogger(f"{ENGINE}.{name}").setLevel(its_level)
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        engine.removeHandler(lines)


class _LogLines(logging.Handler):
    """A handler that prints a record as one line."""

    def __init__(
        self, show: Callable[[str], None], level: int, name_of: Callable[[Name], str]
    ) -> None:
        super().__init__(level)
        self._show = show
        self._name_of = name_of

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record as one line."""
        details = "".join(
            f", {name} {getattr(record, name)}" for name in _DETAILS if name in vars(record)
        )
        line = f"{record.levelname.lower()}: {self._message(record)}{details}"
        self._show(printable(line))

    def _message(self, record: logging.LogRecord) -> str:
        if not isinstance(record.args, tuple) or not record.args:
            return record.getMessage()
        shown = tuple(
            each.render(self._name_of) if isinstance(each, ReplicationError) else each
            for each in record.args
        )
        return str(record.msg) % shown
