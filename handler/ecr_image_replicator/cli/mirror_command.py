"""The ``mirror`` command: a set of images, from a file of a mirror's properties."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ecr_image_replicator.cli.exit_codes import Exit
from ecr_image_replicator.cli.streams import write_output
from ecr_image_replicator.errors import RequestError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecr_image_replicator.cli.interruption import Interruption
    from ecr_image_replicator.cli.mirror_display import MirrorLines
    from ecr_image_replicator.mirror.known import KnownImages
    from ecr_image_replicator.mirror.local_run import LocalRun
    from ecr_image_replicator.mirror.preparation import Preparation
    from ecr_image_replicator.mirror.report import MirrorReport
    from ecr_image_replicator.request.mirror import MirrorRequest

_EPILOG: Final = """\
example:
  Repositories:
    - SrcRepository: docker.io/library/nginx
      DestRepository: registry.example.com/mirror/{name}
      Versions: ">=1.25 <2"
      Suffix: "-alpine*"
      Newest: 5

docs/mirrors.md has every property.

"""


class MirrorCommand(NamedTuple):
    """A parsed command line of ``mirror``.

    Attributes
    ----------
    file
        The mirror's properties.
    report, state
        Where the report and known digests are kept; None for nowhere.
    authfile
        The value of ``--authfile``, None without it.
    is_quiet, is_verbose
        Print failures only; print the engine's log lines too.
    """

    file: Path
    report: Path | None
    state: Path | None
    authfile: str | None
    dry_run: bool = False
    prints_json: bool = False
    is_quiet: bool = False
    is_verbose: bool = False


def add_mirror_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], statuses: str
) -> None:
    """Add the ``mirror`` command.

    Parameters
    ----------
    statuses
        The exit statuses, for ``--help``.
    """
    parser = commands.add_parser(
        "mirror",
        help="copy a set of images",
        description="Copy the images of a mirror that differ at the destination.",
        epilog=_EPILOG + statuses,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="a mirror's properties, YAML or JSON"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the choice, copy nothing")
    parser.add_argument("--json", action="store_true", help="print the values as a JSON object")
    parser.add_argument("--report", metavar="FILE", type=Path, help="write a JSON report")
    parser.add_argument(
        "--state",
        metavar="FILE",
        type=Path,
        help="remember digests, so that unchanged subsets of platforms cost no pull",
    )
    parser.add_argument("--authfile", metavar="FILE", help="an auth file of docker or podman")
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument("--quiet", "-q", action="store_true", help="print failures only")
    volume.add_argument("--verbose", "-v", action="store_true", help="print log lines too")


def parse_mirror_command(given: argparse.Namespace) -> MirrorCommand:
    """Return the command for parsed arguments of ``mirror``."""
    return MirrorCommand(
        file=given.file,
        report=given.report,
        state=given.state,
        authfile=given.authfile,
        dry_run=given.dry_run,
        prints_json=given.json,
        is_quiet=given.quiet,
        is_verbose=given.verbose,
    )


def mirror_images(
    command: MirrorCommand, environment: Mapping[str, str], interruption: Interruption
) -> Exit:
    """Copy a set of images, print its values and write its files.

    Raises
    ------
    ReplicationError
        The file is invalid, or the run was stopped.
    OutputError
        Standard output cannot be written.
    """
    from ecr_image_replicator.cli.arguments import file_name  # noqa: PLC0415 - as above
    from ecr_image_replicator.cli.auth_file import AuthFiles, find_home  # noqa: PLC0415 - after --help
    from ecr_image_replicator.cli.logs import shown_logs  # noqa: PLC0415 - as above
    from ecr_image_replicator.cli.mirror_display import MirrorLines  # noqa: PLC0415 - as above
    from ecr_image_replicator.cli.mirror_file import (  # noqa: PLC0415 - as above
        check_outputs,
        read_mirror_file,
        read_state,
    )
    from ecr_image_replicator.mirror.known import KnownImages  # noqa: PLC0415 - as above
    from ecr_image_replicator.mirror.local_run import LocalRun  # noqa: PLC0415 - as above
    from ecr_image_replicator.replicate import Replicator  # noqa: PLC0415 - as above
    from ecr_image_replicator.request.mirror_parsing import parse_mirror  # noqa: PLC0415 - as above
    from ecr_image_replicator.request.settings import Settings  # noqa: PLC0415 - as above

    mirror = parse_mirror(read_mirror_file(command.file))
    check_outputs(command.report, command.state)
    known = KnownImages.parse(read_state(command.state))
    logins = AuthFiles.locate(command.authfile, environment, find_home())
    replicator = Replicator(Settings.from_environment(environment), find_login=logins.find_login)
    display = MirrorLines(sys.stderr, is_quiet=command.is_quiet)
    run = LocalRun(replicator, mirror, known, interruption.deadline, display)
    level = logging.INFO if command.is_verbose else logging.WARNING
    # the display prints what the mirror's own warnings say
    packages = {"mirror": logging.INFO if command.is_verbose else logging.CRITICAL}
    try:
        shown = logging.ERROR if command.is_quiet else level
        with shown_logs(display.show, shown, file_name, packages):
            return _run(command, mirror, run, known, interruption, display)
    finally:
        display.close()
        replicator.close()


def _run(
    command: MirrorCommand,
    mirror: MirrorRequest,
    run: LocalRun,
    known: KnownImages,
    interruption: Interruption,
    display: MirrorLines,
) -> Exit:
    preparation = interruption.run(run.prepare)
    if command.dry_run or mirror.dry_run:
        _print_choice(command, preparation, run.report())
        return Exit.DONE
    display.rejected(run.report().choice)
    try:
        report = interruption.run(lambda: run.copy(preparation))
    except StoppedError:
        _write_files(command, run.report(), known)
        raise
    display.close()
    _write_files(command, report, known)
    values = report.values()
    if command.prints_json:
        write_output(json.dumps(values, indent=2))
    else:
        write_output(_summary(values))
    if len(report.failed) > mirror.max_failures:
        return Exit.FAILED
    return Exit.TEMPORARY_FAILURE if report.left else Exit.DONE


def _write_files(command: MirrorCommand, report: MirrorReport, known: KnownImages) -> None:
    """Write the report and the state.

    Raises
    ------
    RequestError
        A file cannot be written.
    """
    from ecr_image_replicator.cli.mirror_file import write_file  # noqa: PLC0415 - as above

    failure: RequestError | None = None
    files = [(command.report, json.dumps(report.as_json(), indent=2).encode())]
    files += [(command.state, known.render())]
    for path, content in files:
        try:
            if path is not None:
                write_file(path, content)
        except RequestError as error:
            failure = failure or error
    if failure is not None:
        raise failure


def _print_choice(command: MirrorCommand, preparation: Preparation, report: MirrorReport) -> None:
    """Print every decision with its reason."""
    from ecr_image_replicator.cli.mirror_file import write_file  # noqa: PLC0415 - as above
    from ecr_image_replicator.mirror.report import choice_lines  # noqa: PLC0415 - as above

    choice = list(choice_lines(preparation))
    document: dict[str, Any] = {
        **report.values(),
        "Choice": choice,
        "Warnings": list(report.choice.warnings),
    }
    if command.report is not None:
        write_file(command.report, json.dumps(document, indent=2).encode())
    if command.prints_json:
        write_output(json.dumps(document, indent=2))
        return
    lines = []
    for line in choice:
        target = f" -> {line['Destination']}" if line["Destination"] else ""
        lines.append(f"{line['Action']:<16} {line['Source']}{target}  ({line['Reason']})")
    if lines:
        write_output("\n".join(lines))
    for warning in report.choice.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _summary(values: Mapping[str, str]) -> str:
    from ecr_image_replicator.cli.mirror_display import count_images  # noqa: PLC0415 - as above
    from ecr_image_replicator.cli.report import size  # noqa: PLC0415 - as above

    rest = f", {values['Left']} left" if values["Left"] != "0" else ""
    vanished = f", {values['Vanished']} vanished" if values["Vanished"] != "0" else ""
    return (
        f"{count_images(int(values['Chosen']))}: {values['Copied']} copied "
        f"({size(int(values['BytesCopied']))}), {values['Unchanged']} unchanged, "
        f"{values['Failed']} failed{rest}{vanished}, in {float(values['DurationSeconds']):.1f} s"
    )
