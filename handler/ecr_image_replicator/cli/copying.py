"""The ``copy`` command: one image, with progress."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from typing import TYPE_CHECKING

from ecr_image_replicator.cli.arguments import option_name
from ecr_image_replicator.cli.auth_file import AuthFiles, find_home
from ecr_image_replicator.cli.display import NullDisplay, PlainLines, opened_display
from ecr_image_replicator.cli.exit_codes import Exit
from ecr_image_replicator.cli.logs import shown_logs
from ecr_image_replicator.cli.report import plan_lines, summary
from ecr_image_replicator.cli.streams import write_output
from ecr_image_replicator.model.references import ImageReference
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ecr_image_replicator.cli.arguments import Command
    from ecr_image_replicator.cli.interruption import Interruption
    from ecr_image_replicator.copy.ports import Progress
    from ecr_image_replicator.outcome import Outcome
    from ecr_image_replicator.request.parsing import ReplicationRequest


def copy_image(
    command: Command, environment: Mapping[str, str], interruption: Interruption
) -> Exit:
    """Copy one image and print the result.

    Raises
    ------
    ReplicationError
        The arguments are invalid, or the copy failed.
    OutputError
        Standard output cannot be written.
    """
    request = command.request()
    logins = AuthFiles.locate(command.authfile, environment, find_home())
    settings = Settings.from_environment(environment)._replace(
        unverified=tuple(_unverified(command, request))
    )
    replicator = Replicator(settings, find_login=logins.find_login)

    def replicate() -> Outcome:
        with _progress(command, shows=not (request.dry_run or command.is_quiet)) as progress:
            return replicator.replicate(request, deadline=interruption.deadline, progress=progress)

    try:
        outcome = interruption.run(replicate)
    finally:
        replicator.close()
    _print_result(outcome, prints_json=command.prints_json)
    return Exit.DONE


def _unverified(command: Command, request: ReplicationRequest) -> Iterator[str]:
    """Yield the registries that ``--src-tls-verify=false`` and its like name."""
    if "source" in command.unverified and isinstance(request.source, ImageReference):
        yield request.source.registry
    if "destination" in command.unverified:
        yield request.destination.registry


@contextlib.contextmanager
def _progress(command: Command, *, shows: bool) -> Iterator[Progress]:
    """Show progress and log lines; a dry run shows no progress, because nothing moves."""
    with (
        opened_display(sys.stderr)
        if shows
        else contextlib.nullcontext(PlainLines(sys.stderr)) as display
    ):
        level = logging.INFO if command.is_verbose else logging.WARNING
        with shown_logs(display.show, logging.ERROR if command.is_quiet else level, option_name):
            yield display if shows else NullDisplay()


def _print_result(outcome: Outcome, *, prints_json: bool) -> None:
    """Print the values or a summary to stdout; with values, a plan goes to stderr."""
    if prints_json:
        write_output(json.dumps(outcome.attributes(), indent=2))
    if outcome.planned_changes is not None:
        plan = "\n".join(plan_lines(outcome, outcome.planned_changes))
        if prints_json:
            print(plan, file=sys.stderr)
        else:
            write_output(plan)
    elif not prints_json:
        write_output(summary(outcome))
