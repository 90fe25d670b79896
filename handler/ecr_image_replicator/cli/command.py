"""One run: arguments in, an exit status out; values on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.cli.arguments import option_name, parse_arguments
from ecr_image_replicator.cli.display import NullDisplay, PlainLines, opened_display
from ecr_image_replicator.cli.exit_codes import Exit, exit_of
from ecr_image_replicator.cli.report import plan_lines, summary
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import ReplicationError, RequestError
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

    from ecr_image_replicator.copy.ports import Progress
    from ecr_image_replicator.outcome import Outcome
    from ecr_image_replicator.request.parsing import ReplicationRequest

#: Nobody waits longer at a terminal, and what waits for locks wants a number.
_LONGEST_SECONDS: Final = 7 * 24 * 3600.0
_LOOK_SECONDS: Final = 0.2
_EXITS: Final = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}
#: At DEBUG these write out presigned URLs and tokens.
_QUIET: Final = ("boto3", "botocore", "requests", "s3transfer", "urllib3")


def main() -> int:
    """Run the command line of this process: the entry point of ``ecr-image-replicator``."""
    return run(sys.argv[1:], os.environ)


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Replicate as the command line says.

    Raises
    ------
    SystemExit
        The command line was not understood (2), or asked for help (0).
    """
    command = parse_arguments(arguments, environment)
    try:
        request = command.request()
        replicator = Replicator(Settings.from_environment(environment))
    except RequestError as error:
        _complain(error.render(option_name))
        return Exit.USAGE
    interruption = Interruption()
    try:
        with interruption:
            outcome = _replicate(replicator, request, interruption)
    except ReplicationError as error:
        if interruption.exit is not None:
            _complain("interrupted; the tags are as they were, and uploads were cancelled")
            return interruption.exit
        _complain(error.render(option_name))
        return exit_of(error)
    except Exception as error:  # noqa: BLE001 - messages of foreign exceptions may quote secrets
        _complain(_defect(error))
        return Exit.FAILED
    finally:
        replicator.close()
    _print(outcome, prints_json=command.prints_json)
    return Exit.DONE


class Interruption:
    """The first Ctrl-C or SIGTERM stops the copy, which cleans up; the second ends the process."""

    def __init__(self) -> None:
        self.exit: Exit | None = None
        self.deadline: Final = Deadline(_LONGEST_SECONDS)
        self._before: dict[signal.Signals, Callable[..., object] | int | None] = {}

    def __enter__(self) -> None:
        # what is ignored stays so: a shell's script starts jobs in the background like that
        heeded = [each for each in _EXITS if signal.getsignal(each) is not signal.SIG_IGN]
        self._before = {each: signal.signal(each, self._stop) for each in heeded}

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _stop(self, number: int, _: FrameType | None) -> None:
        self.exit = _EXITS[signal.Signals(number)]
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
        self.deadline.stop()


def _replicate(
    replicator: Replicator, request: ReplicationRequest, interruption: Interruption
) -> Outcome:
    """Run the engine beside the main thread, where signals arrive and no lock of its is held."""

    def work() -> Outcome:
        with _progress(request) as progress:
            return replicator.replicate(request, deadline=interruption.deadline, progress=progress)

    with ThreadPoolExecutor(1, thread_name_prefix="engine") as pool:
        working = pool.submit(work)
        # a signal that arrives just before a wait does not end it
        while not wait([working], _LOOK_SECONDS).done:
            pass
        return working.result()


@contextlib.contextmanager
def _progress(request: ReplicationRequest) -> Iterator[Progress]:
    """Show progress and warnings; a dry run has no progress, as nothing moves."""
    plain = contextlib.nullcontext(PlainLines(sys.stderr))
    with plain if request.dry_run else opened_display(sys.stderr) as display:
        warnings = _Warnings(display.show)
        engine = logging.getLogger("ecr_image_replicator")
        engine.addHandler(warnings)
        engine.propagate = False
        for library in _QUIET:
            logging.getLogger(library).setLevel(logging.CRITICAL)
        try:
            yield NullDisplay() if request.dry_run else display
        finally:
            engine.removeHandler(warnings)


class _Warnings(logging.Handler):
    """Shows what the engine warns of, with the figures that say what it is about."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record in a line."""
        told = {name: getattr(record, name) for name in ("referrer", "why") if name in vars(record)}
        rest = "".join(f", {name} {value}" for name, value in told.items())
        self._show(f"warning: {record.getMessage()}{rest}")


def _print(outcome: Outcome, *, prints_json: bool) -> None:
    """Print values or words on stdout; a plan beside values on stderr."""
    if prints_json:
        print(json.dumps(outcome.attributes(), indent=2), flush=True)
    if outcome.planned_changes is not None:
        for line in plan_lines(outcome, outcome.planned_changes):
            print(line, file=sys.stderr if prints_json else sys.stdout)
    elif not prints_json:
        print(summary(outcome))


def _defect(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"the replicator has a defect, a {type(error).__name__} at {place}; please report it"


def _complain(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr, flush=True)
