"""Fixtures and options of all tests: the check for secrets in logs, test order, Hypothesis.

`secrets_in_logs` fails a test in which the program logs a secret; CONTRIBUTING.md says how a new
test takes part. `--random-order SEED` shuffles files and the tests of each file, `--switch-interval
SECONDS` sets how often threads may switch; `make soak` uses both.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import create_loader
from hypothesis import HealthCheck, settings
from local.emulator import LambdaEmulator

#: The loggers below which the program logs (see `handler/app.py`).
_LOGGERS = ("ecr_image_replicator", "custom_resource", "responder")
#: Passwords that tests use, and markers of signed URLs of the local cloud.
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

# No profile measures time: too_slow fails a test if generating examples takes seconds.
settings.register_profile(
    "timeless",
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
_TIMELESS = settings.get_profile("timeless")
# the same examples in every run; `make soak` sets HYPOTHESIS_PROFILE=random for new ones
settings.register_profile("fixed", _TIMELESS, derandomize=True)
settings.register_profile("random", _TIMELESS, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--random-order",
        type=int,
        metavar="SEED",
        help="shuffle the test files, and the tests of each file, by this seed",
    )
    parser.addoption(
        "--switch-interval",
        type=float,
        metavar="SECONDS",
        help="the interpreter's switch interval",
    )


def _isolate_from_account() -> None:
    """Remove the developer's AWS account, profile and settings, which subprocesses inherit."""
    for name in [each for each in os.environ if each.startswith(("AWS_", "POWERTOOLS_"))]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    # nothing waits for the metadata service of an instance
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def pytest_configure(config: pytest.Config) -> None:
    _isolate_from_account()
    interval = config.getoption("--switch-interval")
    if interval is not None:
        sys.setswitchinterval(interval)
    # shells ignore it in background jobs, and programs that tests interrupt inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed = config.getoption("--random-order")
    if seed is None:
        return
    generator = random.Random(seed)
    files = [list(each) for _, each in itertools.groupby(items, key=lambda item: item.path)]
    generator.shuffle(files)
    for tests in files:
        generator.shuffle(tests)
    items[:] = itertools.chain.from_iterable(files)


class _LogRecorder(logging.Handler):
    """A log handler that keeps the text and the extra attributes of every record."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {record.__dict__}")


class _EmulatorLogs:
    """The output of functions that run under the emulator, which log at DEBUG."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._read: dict[LambdaEmulator, int] = {}
        self._unread: list[str] = []
        enter, leave = LambdaEmulator.__enter__, LambdaEmulator.__exit__

        def enter_with_debug_logs(emulator: LambdaEmulator) -> LambdaEmulator:
            emulator._environment.setdefault("POWERTOOLS_LOG_LEVEL", "DEBUG")  # noqa: SLF001 - no public setting
            enter(emulator)
            self._read[emulator] = 0
            return emulator

        def leave_and_collect_log(emulator: LambdaEmulator, *reason: object) -> None:
            self._collect(emulator)
            self._read.pop(emulator, None)
            leave(emulator, *reason)

        patch.setattr(LambdaEmulator, "__enter__", enter_with_debug_logs)
        patch.setattr(LambdaEmulator, "__exit__", leave_and_collect_log)

    def take_lines(self) -> list[str]:
        """Return the lines since the last call."""
        for emulator in self._read:
            self._collect(emulator)
        lines, self._unread = self._unread, []
        return lines

    def _collect(self, emulator: LambdaEmulator) -> None:
        if emulator in self._read:
            log = emulator.log
            self._unread += log[self._read[emulator] :].splitlines()
            self._read[emulator] = len(log)


@pytest.fixture(scope="session", autouse=True)
def shared_models() -> Iterator[None]:
    """Load each service's model once in a run, not once for each new function."""
    loader = create_loader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", lambda _paths=None: loader)
        yield


@pytest.fixture(scope="session")
def emulator_logs() -> Iterator[_EmulatorLogs]:
    with pytest.MonkeyPatch.context() as patch:
        yield _EmulatorLogs(patch)


@pytest.fixture(scope="session")
def subprocess_output() -> Iterator[list[str]]:
    """The output of Python processes that tests run with `subprocess.run`."""
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
def secrets_in_logs(
    emulator_logs: _EmulatorLogs, issued_secrets: list[str], subprocess_output: list[str]
) -> Iterator[None]:
    """Search everything that a test makes the program log, in any process, for secrets."""
    before = len(issued_secrets)
    recorder = _LogRecorder()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(recorder)
        logger.setLevel(logging.DEBUG)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(recorder)
        logger.setLevel(level)
    lines = [*recorder.lines, *emulator_logs.take_lines(), *subprocess_output]
    subprocess_output.clear()
    earlier, own = frozenset(issued_secrets[:before]), issued_secrets[before:]
    for line in lines:
        found = [secret for secret in (*_KNOWN_SECRETS, *own) if secret in line]
        assert not found, f"the log has the secret {found}: {line}"
        # tests share sessions and tokens
        kept = earlier.intersection(_WORD.findall(line))
        assert not kept, f"the log has an earlier test's token {kept}: {line}"
        assert not _AUTHORIZATION.search(line), f"the log has an Authorization header: {line}"
