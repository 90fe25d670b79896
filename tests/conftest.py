from __future__ import annotations

import logging
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import create_loader
from local.emulator import LambdaEmulator

#: Each of them logs through the function's own logger (see `handler/app.py`).
_LOGGERS = ("ecr_image_replicator", "custom_resource", "responder")
#: Passwords that tests use, and what the signed URLs of the local cloud have in their queries.
_KNOWN_SECRETS = (
    "open-sesame",
    "hunter2",
    "pass:word",
    "correct-horse",
    "of-a-test",
    "loopback/secret/key",
    "X-Signature",
    "X-Amz-Signature",
    "_state=",
)
_WORD = re.compile(r"[A-Za-z0-9_-]{16,}")
_AUTHORIZATION = re.compile(r"(Basic|Bearer) [A-Za-z0-9._~+/=-]{12,}")


class _Keeper(logging.Handler):
    """Keeps all that a record says, with what it carries beside its message."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {record.__dict__}")


class _Emulators:
    """What functions print that run under the emulator, at DEBUG, however long they live."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._read: dict[LambdaEmulator, int] = {}
        self._left: list[str] = []
        enter, leave = LambdaEmulator.__enter__, LambdaEmulator.__exit__

        def enter_at_debug(emulator: LambdaEmulator) -> LambdaEmulator:
            emulator._environment.setdefault("POWERTOOLS_LOG_LEVEL", "DEBUG")  # noqa: SLF001 - as is
            enter(emulator)
            self._read[emulator] = 0
            return emulator

        def leave_the_log(emulator: LambdaEmulator, *reason: object) -> None:
            self._collect(emulator)
            self._read.pop(emulator, None)
            leave(emulator, *reason)

        patch.setattr(LambdaEmulator, "__enter__", enter_at_debug)
        patch.setattr(LambdaEmulator, "__exit__", leave_the_log)

    def take_lines(self) -> list[str]:
        """Give what has been printed since the last time."""
        for emulator in self._read:
            self._collect(emulator)
        lines, self._left = self._left, []
        return lines

    def _collect(self, emulator: LambdaEmulator) -> None:
        if emulator in self._read:
            log = emulator.log
            self._left += log[self._read[emulator] :].splitlines()
            self._read[emulator] = len(log)


@pytest.fixture(scope="session", autouse=True)
def shared_models() -> Iterator[None]:
    """Let botocore read its services' models once a run; each new function reads them otherwise."""
    loader = create_loader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", lambda _paths=None: loader)
        yield


@pytest.fixture(scope="session")
def emulators() -> Iterator[_Emulators]:
    with pytest.MonkeyPatch.context() as patch:
        yield _Emulators(patch)


@pytest.fixture(scope="session")
def printed() -> Iterator[list[str]]:
    """What the program prints in processes of its own that tests run to their end."""
    lines: list[str] = []
    run = subprocess.run

    def keep(arguments: Any, *more: Any, **options: Any) -> subprocess.CompletedProcess[Any]:
        finished = run(arguments, *more, **options)
        if isinstance(arguments, list | tuple) and arguments[0] == sys.executable:
            for stream in (finished.stdout, finished.stderr):
                text = stream.decode(errors="replace") if isinstance(stream, bytes) else stream
                lines.extend((text or "").splitlines())
        return finished

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", keep)
        yield lines


@pytest.fixture(scope="session")
def issued_secrets() -> Iterator[list[str]]:
    """Every token that the local cloud issues."""
    issued: list[str] = []
    issue = secrets.token_urlsafe

    def record(nbytes: int | None = None) -> str:
        issued.append(issue(nbytes))
        return issued[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "token_urlsafe", record)
        yield issued


@pytest.fixture(autouse=True)
def nothing_secret_is_logged(
    emulators: _Emulators, issued_secrets: list[str], printed: list[str]
) -> Iterator[None]:
    """Search what every test logs, here and in other processes, for every secret in play."""
    before = len(issued_secrets)
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
    lines = [*keeper.lines, *emulators.take_lines(), *printed]
    printed.clear()
    earlier, own = frozenset(issued_secrets[:before]), issued_secrets[before:]
    for line in lines:
        assert not [secret for secret in (*_KNOWN_SECRETS, *own) if secret in line], line
        # sessions and sign-ins are kept from one test to the next
        assert earlier.isdisjoint(_WORD.findall(line)), line
        assert not _AUTHORIZATION.search(line), line
