"""One run of the command line: values go to standard output, everything else to standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.cli.arguments import (
    PROGRAM,
    add_copy_parser,
    exit_statuses,
    file_name,
    new_parser,
    option_name,
    parse_copy,
    reject_unknown,
    write_defaults,
)
from ecr_image_replicator.cli.exit_codes import Exit, exit_status
from ecr_image_replicator.cli.interruption import Interruption
from ecr_image_replicator.cli.mirror_command import (
    add_mirror_parser,
    mirror_images,
    parse_mirror_command,
)
from ecr_image_replicator.cli.streams import OutputError, optional_messages
from ecr_image_replicator.errors import DeniedError, ReplicationError, Setting
from ecr_image_replicator.sanitize import raised_at

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command and return its exit status.

    Raises
    ------
    SystemExit
        The arguments are invalid (2), or ask for help or the version (0).
    """
    parser = new_parser()
    commands = parser.add_subparsers(dest="command", metavar="copy|mirror", required=True)
    add_copy_parser(commands)
    add_mirror_parser(commands, exit_statuses())
    with optional_messages():
        given, unknown = parser.parse_known_args(write_defaults(arguments))
        if unknown:
            # by the command's own parser, which prints its usage
            reject_unknown(commands.choices[given.command], unknown)
        return _run_command(given, environment)


def _run_command(given: argparse.Namespace, environment: Mapping[str, str]) -> int:
    interruption = Interruption()
    try:
        with interruption:
            if given.command == "mirror":
                return mirror_images(parse_mirror_command(given), environment, interruption)
            from ecr_image_replicator.cli.copying import copy_image  # noqa: PLC0415 - after --help

            return copy_image(parse_copy(given, environment), environment, interruption)
    except ReplicationError as error:
        if interruption.status is not None:
            _print_error(f"interrupted: {_INTERRUPTED[given.command]}")
            return interruption.status
        message = error.render(file_name if given.command == "mirror" else option_name)
        is_anonymous = isinstance(error, DeniedError) and not _CREDENTIALS.isdisjoint(error.hint)
        _print_error(f"{message} {_LOGIN_HINT}" if is_anonymous else message)
        return exit_status(error)
    except OutputError as error:
        _print_error(f"cannot write to standard output: {error}")
        return Exit.FAILED
    except Exception as error:  # noqa: BLE001 - the messages of others may contain secrets
        _print_error(_describe_defect(error))
        return Exit.FAILED


_INTERRUPTED: Final = {
    "copy": "the destination's tags are unchanged, the cancellation of uploads was requested",
    "mirror": "finished images stay at the destination, the others' tags there are unchanged",
}
_CREDENTIALS: Final = {Setting.SOURCE_CREDENTIALS, Setting.DESTINATION_CREDENTIALS}
#: Beside an error that says to set credentials.
_LOGIN_HINT = "Logins of `docker login` and `podman login` are used too; see --authfile."


def _describe_defect(error: Exception) -> str:
    kind = type(error).__name__
    return f"defect in {PROGRAM}: {kind} at {raised_at(error)}. Please report it."


def _print_error(message: str) -> None:
    print(f"error: {message}", file=sys.stderr, flush=True)
