"""docs/command-line.md compared with the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from tests.documents.failures import FAILURES, Failure
from tests.documents.scene import Scene

from ecr_image_replicator.cli.arguments import (
    add_copy_parser,
    new_parser,
    option_name,
)
from ecr_image_replicator.cli.exit_codes import Exit
from ecr_image_replicator.cli.mirror_command import add_mirror_parser
from ecr_image_replicator.errors import ReplicationError
from ecr_image_replicator.request.properties import PROPERTY_NAMES

PAGE: Final = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
#: Failures of stacks and of the function only.
NOT_OF_THE_COMMAND_LINE: Final = {
    "unknown_property",
    "expired_deadline",
    "blob_that_is_too_large",
    "last_invocation",
}
#: Terms of stacks and functions.
FOREIGN: Final = (
    *PROPERTY_NAMES.values(),
    "Deploy again",
    "deploy again",
    "function's role",
    ": true",
)


def help_text(capsys: pytest.CaptureFixture[str]) -> str:
    parser = new_parser()
    commands = parser.add_subparsers()
    add_copy_parser(commands)
    add_mirror_parser(commands, "")
    for command in ("copy", "mirror"):
        with pytest.raises(SystemExit):
            parser.parse_args([command, "--help"])
    return capsys.readouterr().out


def test_all_options_are_documented(capsys: pytest.CaptureFixture[str]) -> None:
    options = set(re.findall(r"--[a-z][a-z-]+", help_text(capsys))) - {"--help"}
    assert set(re.findall(r"`?(--[a-z][a-z-]+)", PAGE)) - {"--version"} == options


def test_every_exit_status_is_documented() -> None:
    rows = re.findall(r"^\| ([0-9, ]+) \|", PAGE, re.MULTILINE)
    assert {int(each) for row in rows for each in row.split(",")} == set(Exit)


@pytest.mark.parametrize(
    "failure", [each for _, each in FAILURES if each.__name__ not in NOT_OF_THE_COMMAND_LINE]
)
def test_a_message_uses_the_terms_of_the_command_line(scene: Scene, failure: Failure) -> None:
    with pytest.raises(ReplicationError) as caught:
        failure(scene)
    error = caught.value
    message = error.render(option_name)
    words = [each for each in FOREIGN if re.search(rf"(?<!\w){re.escape(each)}(?!\w)", message)]
    assert not words, message
