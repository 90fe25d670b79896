from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterator

import pytest

#: Each of them logs through the function's own logger (see `handler/app.py`).
_LOGGERS = ("replicator", "lifecycle", "answers", "continuation", "responder")
#: Passwords that tests use, and what the signed URLs of the local cloud have in their queries.
_KNOWN_SECRETS = (
    "open-sesame",
    "hunter2",
    "pass:word",
    "X-Signature",
    "X-Amz-Signature",
    "_state=",
)
_AUTHORIZATION = re.compile(r"(Basic|Bearer) [A-Za-z0-9._~+/=-]{12,}")


class _Keeper(logging.Handler):
    """Keeps all that a record says, with what it carries beside its message."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {record.__dict__}")


@pytest.fixture(autouse=True)
def nothing_secret_is_logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Search what every test logs, at DEBUG, for every token that was issued in it."""
    issued: list[str] = []
    issue = secrets.token_urlsafe

    def record(nbytes: int | None = None) -> str:
        issued.append(issue(nbytes))
        return issued[-1]

    monkeypatch.setattr(secrets, "token_urlsafe", record)
    keeper = _Keeper()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(keeper)
        logger.setLevel(logging.DEBUG)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(keeper)
        logger.setLevel(level)
    for line in keeper.lines:
        assert not [secret for secret in (*_KNOWN_SECRETS, *issued) if secret in line], line
        assert not _AUTHORIZATION.search(line), line
