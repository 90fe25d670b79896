"""The command line, into the request that a resource's properties would make."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.cli.exit_codes import Exit
from ecr_image_replicator.errors import Setting
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecr_image_replicator.request.parsing import ReplicationRequest

SOURCE_CREDENTIALS_VARIABLE: Final = "SRC_CREDS"
DESTINATION_CREDENTIALS_VARIABLE: Final = "DEST_CREDS"
#: The option or variable of each setting that has one.
OPTION_NAMES: Final[Mapping[Setting, str]] = {
    Setting.SOURCE: "SOURCE",
    Setting.DESTINATION: "DESTINATION",
    Setting.PLATFORMS: "--platform",
    Setting.DESTINATION_TAGS: "--tag",
    Setting.COPY_REFERRERS: "--referrers",
    Setting.CREATE_REPOSITORY: "--create-repository",
    Setting.DRY_RUN: "--dry-run",
    Setting.SOURCE_CREDENTIALS: SOURCE_CREDENTIALS_VARIABLE,
    Setting.DESTINATION_CREDENTIALS: DESTINATION_CREDENTIALS_VARIABLE,
}
_EPILOG: Final = f"""\
environment:
  {SOURCE_CREDENTIALS_VARIABLE}, {DESTINATION_CREDENTIALS_VARIABLE}
      what a side is signed in to with: user:password, or the name or ARN of a secret in AWS Secrets
      Manager; ECR and ECR Public need none
  the function's settings, AWS's variables, and those of proxies and trust stores

exit status:
{{exits}}
"""


@dataclass(frozen=True, slots=True)
class Command:
    """What a command line asks for.

    Attributes
    ----------
    properties
        As a stack would write them.
    prints_json
        Whether the values are printed as JSON.
    """

    properties: Mapping[str, Any]
    prints_json: bool

    def request(self) -> ReplicationRequest:
        """Read the properties.

        Raises
        ------
        RequestError
            See `parse_request`.
        """
        return parse_request(self.properties)


def parse_arguments(arguments: Sequence[str], environment: Mapping[str, str]) -> Command:
    """Read a command line.

    Raises
    ------
    SystemExit
        It was not understood (2), or asked for help (0); what there is to say was printed.
    """
    given = _parser().parse_args(arguments)
    properties: dict[str, Any] = {
        "SrcImage": given.source,
        "DestImage": given.destination,
        "Platforms": ",".join(given.platform),
        "DestTags": given.tag,
        "CopyReferrers": given.referrers,
        "CreateRepository": given.create_repository,
        "DryRun": given.dry_run,
        "SrcCreds": environment.get(SOURCE_CREDENTIALS_VARIABLE),
        "DestCreds": environment.get(DESTINATION_CREDENTIALS_VARIABLE),
    }
    return Command(properties, given.json)


def option_name(setting: Setting) -> str:
    """Return the option or variable of a setting, for `ReplicationError.render`."""
    return OPTION_NAMES.get(setting, str(setting))


def _parser() -> argparse.ArgumentParser:
    exits = "\n".join(f"  {exit_.value:<4}{exit_.meaning}" for exit_ in Exit)
    parser = argparse.ArgumentParser(
        prog="python -m ecr_image_replicator",
        description="Copy a container image: what is missing at the destination, the tags last.",
        epilog=_EPILOG.format(exits=exits),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"ecr-image-replicator {__version__}"
    )
    parser.add_argument("source", metavar="SOURCE", help="[docker://]host/repo:tag, or s3://…")
    parser.add_argument("destination", metavar="DESTINATION", help="[docker://]host/repo:tag")
    parser.add_argument(
        "--platform",
        action="append",
        default=[],
        help="os/arch[/variant], or all for the whole index; once or more; without it "
        "DEFAULT_PLATFORMS, or linux/amd64",
    )
    parser.add_argument(
        "--tag", action="append", default=[], help="a further tag of the content; once or more"
    )
    parser.add_argument(
        "--referrers", action="store_true", help="signatures, SBOMs and attestations too"
    )
    parser.add_argument(
        "--create-repository", action="store_true", help="make the ECR repository if it is missing"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be done, and do none of it"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the resource's values as one JSON object"
    )
    return parser
