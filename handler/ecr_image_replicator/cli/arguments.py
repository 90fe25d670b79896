"""The command line's arguments, parsed into the properties of a resource."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from ecr_image_replicator.cli.exit_codes import Exit
from ecr_image_replicator.errors import Assignment, RequestError, Setting, Term
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.properties import property_name
from ecr_image_replicator.request.retry_settings import MAX_ATTEMPTS
from ecr_image_replicator.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecr_image_replicator.errors import Name
    from ecr_image_replicator.request.parsing import ReplicationRequest

PROGRAM: Final = "ecr-image-replicator"
SOURCE_CREDENTIALS_VARIABLE: Final = "SRC_CREDS"
DESTINATION_CREDENTIALS_VARIABLE: Final = "DEST_CREDS"
#: The option or variable of each setting that has one.
OPTION_NAMES: Final[Mapping[Setting, str]] = {
    Setting.SOURCE: "SOURCE",
    Setting.DESTINATION: "DESTINATION",
    Setting.PLATFORMS: "--platform",
    Setting.COPY_INDEX: "--all-platforms",
    Setting.DESTINATION_TAGS: "--tag",
    Setting.COPY_REFERRERS: "--referrers",
    Setting.CREATE_REPOSITORY: "--create-repository",
    Setting.FORMAT: "--format",
    Setting.COMPRESSION: "--compression",
    Setting.RETRIES: "--retries",
    Setting.VERIFY_SIGNATURE_KEY: "--verify-key",
    Setting.DRY_RUN: "--dry-run",
    Setting.SOURCE_CREDENTIALS: f"--src-creds or {SOURCE_CREDENTIALS_VARIABLE}",
    Setting.DESTINATION_CREDENTIALS: f"--dest-creds or {DESTINATION_CREDENTIALS_VARIABLE}",
}
_TERMS: Final = {Term.RETRY: "run the command again", Term.CALLER: "your AWS identity"}
#: containers-transports(5), but for docker://.
_TRANSPORT: Final = re.compile(
    r"(atomic|containers-storage|dir|docker-archive|docker-daemon|oci|oci-archive|ostree|sif"
    r"|tarball):(?!//)"
)
_LOGINS: Final = f"""\
logins, in this order:
  --src-creds and --dest-creds
  {SOURCE_CREDENTIALS_VARIABLE} and {DESTINATION_CREDENTIALS_VARIABLE} in the environment
  on ECR and ECR Public: AWS credentials
  --authfile, or $REGISTRY_AUTH_FILE, or the files that `podman login` and `docker login` write,
  with their credential helpers
"""
_EXAMPLES: Final = """\
examples:
  {program} copy nginx:1.27 registry.example.com/mirror/nginx:1.27
  {program} copy s3://builds/app.tar 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1.0
  {program} copy docker-archive:app.tar localhost:5000/app:1.0 --dry-run
"""


class _CopyHelp(argparse.RawDescriptionHelpFormatter):
    """The formatter for ``copy``: an optional value is given with ``=`` only."""

    def format_help(self) -> str:
        return super().format_help().replace("--referrers [required]", "--referrers[=required]")


class Command(NamedTuple):
    """A parsed command line of ``copy``.

    Attributes
    ----------
    properties
        The properties that a resource would have.
    authfile
        The value of ``--authfile``, None without it.
    unverified
        Endpoints whose TLS certificates are not verified: ``source``, ``destination``.
    prints_json
        Print the values as JSON.
    is_quiet, is_verbose
        Print no progress; print the engine's log lines too.
    """

    properties: Mapping[str, Any]
    authfile: str | None = None
    unverified: frozenset[str] = frozenset()
    prints_json: bool = False
    is_quiet: bool = False
    is_verbose: bool = False

    def request(self) -> ReplicationRequest:
        """Parse the properties.

        Raises
        ------
        RequestError
            As `parse_request` does.
        """
        return parse_request(self.properties, accepts_local_archives=True)


def option_name(name: Name) -> str:
    """Return a name in the command line's terms, for `ReplicationError.render`."""
    if isinstance(name, Assignment):
        option = option_name(name.setting)
        return option if name.value == "true" else f"{option}={name.value}"
    return _TERMS[name] if isinstance(name, Term) else OPTION_NAMES.get(name, str(name))


def file_name(name: Name) -> str:
    """Return a name in the terms of a mirror's file, for `ReplicationError.render`."""
    return _TERMS[name] if isinstance(name, Term) else property_name(name)


def write_defaults(arguments: Sequence[str]) -> list[str]:
    """Give a bare ``--referrers`` its value, so that it does not take the next argument."""
    return ["--referrers=true" if each == "--referrers" else each for each in arguments]


def reject_unknown(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> NoReturn:
    """Print a command's usage and the arguments that it does not know, and exit.

    Raises
    ------
    SystemExit
        Always, with status 2.
    """
    import difflib  # noqa: PLC0415 - only here

    names = [each for action in parser._actions for each in action.option_strings]  # noqa: SLF001 - argparse has no other list
    given = unknown[0].partition("=")[0]
    # skopeo's --all first
    longer = [each for each in names if given.startswith("--") and each.startswith(given)]
    near = longer or difflib.get_close_matches(given, names, n=1)
    hint = f". Did you mean {near[0]}?" if near else ""
    parser.error(f"unknown argument {unknown[0]}{hint}")


def add_copy_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the ``copy`` command."""
    parser = commands.add_parser(
        "copy",
        help="copy an image",
        description="Copy an image: missing blobs are copied, tags are pushed last.",
        epilog=f"{_LOGINS}\n{_EXAMPLES.format(program=PROGRAM)}\n{exit_statuses()}",
        formatter_class=_CopyHelp,
        allow_abbrev=False,
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="[docker://|oci://]host/repository:tag or @digest, s3://bucket/key, "
        "docker-archive:FILE, oci-archive:FILE, or the path of an archive",
    )
    parser.add_argument(
        "destination", metavar="DESTINATION", help="[docker://|oci://]host/repository:tag"
    )
    _add_selection(parser)
    _add_access(parser)
    _add_output(parser)


def parse_copy(given: argparse.Namespace, environment: Mapping[str, str]) -> Command:
    """Return the command for parsed arguments of ``copy``.

    Raises
    ------
    RequestError
        The file that ``--verify-key`` names cannot be read.
    """
    _check_transport(given.source, Setting.SOURCE)
    _check_transport(given.destination, Setting.DESTINATION)
    properties: dict[str, Any] = {
        "SrcImage": given.source,
        "DestImage": given.destination,
        "Platforms": ",".join(given.platform),
        "CopyImageIndex": given.all_platforms,
        "DestTags": given.tag,
        "CopyReferrers": given.referrers,
        "CreateRepository": given.create_repository,
        "Format": given.format,
        "Compression": given.compression,
        "VerifySignatureKey": _read_key(given.verify_key),
        "RetryConfigs": None if given.retries is None else {"numAttempts": given.retries + 1},
        "DryRun": given.dry_run,
        "SrcCreds": given.src_creds or environment.get(SOURCE_CREDENTIALS_VARIABLE),
        "DestCreds": given.dest_creds or environment.get(DESTINATION_CREDENTIALS_VARIABLE),
    }
    unverified = {"source": given.src_tls_verify, "destination": given.dest_tls_verify}
    return Command(
        {name: value for name, value in properties.items() if value not in (None, "", [], False)},
        authfile=given.authfile,
        unverified=frozenset(name for name, verifies in unverified.items() if not verifies),
        prints_json=given.json,
        is_quiet=given.quiet,
        is_verbose=given.verbose,
    )


def new_parser() -> argparse.ArgumentParser:
    """Return the parser for everything before the command."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Copy container images between registries, ECR and archives.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    return parser


def exit_statuses() -> str:
    """Render the exit statuses for ``--help``."""
    lines = "\n".join(f"  {status.value:<4}{status.meaning}" for status in Exit)
    return f"exit status:\n{lines}\n"


def _add_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to copy")
    group.add_argument(
        "--platform",
        action="append",
        default=[],
        metavar="OS/ARCH",
        help="a platform of an index; may be repeated. Default: $DEFAULT_PLATFORMS or linux/amd64",
    )
    group.add_argument(
        "--all-platforms", action="store_true", help="the whole index, byte for byte"
    )
    group.add_argument(
        "--tag", action="append", default=[], help="an additional tag; may be repeated"
    )
    group.add_argument(
        "--referrers",
        nargs="?",
        const="true",
        choices=["true", "required"],
        metavar="required",
        help="copy signatures, SBOMs and attestations too; =required fails if one is rejected",
    )
    group.add_argument("--format", choices=["docker", "oci"], help="convert the manifest")
    group.add_argument(
        "--compression",
        choices=["gzip", "zstd", "none"],
        help="for layers that an archive stores uncompressed; default gzip",
    )
    group.add_argument(
        "--verify-key",
        metavar="FILE|ARN",
        help="copy only what this key signed: a PEM file, or a KMS key's ARN",
    )


def _add_access(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("access")
    for side in ("src", "dest"):
        group.add_argument(
            f"--{side}-creds",
            metavar="USER:PASSWORD|SECRET",
            help="a login, or the ARN or name of a secret in AWS Secrets Manager; other users of "
            "this machine can see a password given here",
        )
    group.add_argument("--authfile", metavar="FILE", help="an auth file of docker or podman")
    for side in ("src", "dest"):
        group.add_argument(
            f"--{side}-tls-verify",
            type=_boolean,
            default=True,
            metavar="true|false",
            help="false accepts any certificate, and plain HTTP",
        )
    group.add_argument(
        "--create-repository", action="store_true", help="create a missing ECR repository"
    )
    group.add_argument(
        "--retries",
        type=_retries,
        metavar="N",
        help=f"retries of each request, 0 to {MAX_ATTEMPTS - 1}; default 4",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--dry-run", action="store_true", help="print the plan, copy nothing")
    group.add_argument("--json", action="store_true", help="print the values as a JSON object")
    volume = group.add_mutually_exclusive_group()
    volume.add_argument("--quiet", "-q", action="store_true", help="print no progress")
    volume.add_argument("--verbose", "-v", action="store_true", help="print log lines too")


def _check_transport(text: str, setting: Setting) -> None:
    """Reject skopeo's other transports, and archives as a destination."""
    found = _TRANSPORT.match(text)
    if found is None or (setting is Setting.SOURCE and found[1].endswith("-archive")):
        return
    hint = "Use docker://host/repository:tag"
    if setting is Setting.SOURCE:
        hint += ", s3://bucket/key, docker-archive:FILE or oci-archive:FILE"
    raise RequestError("invalid ", setting, f": unsupported transport {found[0]}", hint=f"{hint}.")


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise argparse.ArgumentTypeError(f"invalid value {text!r}: expected true or false")
    return text.lower() == "true"


def _retries(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) >= MAX_ATTEMPTS:
        raise argparse.ArgumentTypeError(
            f"invalid value {text!r}: expected a whole number from 0 to {MAX_ATTEMPTS - 1}"
        )
    return int(text)


def _read_key(given: str | None) -> str | None:
    """Return an ARN as it is, and the content of a PEM file."""
    if given is None or given.startswith("arn:"):
        return given
    try:
        text = Path(given).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise RequestError(
            "invalid ", Setting.VERIFY_SIGNATURE_KEY, f": cannot read {given!r} ({reason})"
        ) from error
    if not text.strip():
        # an empty property would mean that nothing is verified
        raise RequestError("invalid ", Setting.VERIFY_SIGNATURE_KEY, f": {given!r} is empty")
    return text
