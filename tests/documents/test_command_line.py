"""docs/command-line.md against the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from ecr_image_replicator.cli.arguments import add_copy_parser, new_parser
from ecr_image_replicator.cli.exit_codes import Exit

PAGE: Final = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()


def help_text(capsys: pytest.CaptureFixture[str]) -> str:
    parser = new_parser()
    add_copy_parser(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["copy", "--help"])
    return capsys.readouterr().out


def test_every_option_is_documented_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    options = set(re.findall(r"--[a-z][a-z-]+", help_text(capsys))) - {"--help"}
    assert set(re.findall(r"`?(--[a-z][a-z-]+)", PAGE)) - {"--version"} == options


def test_every_exit_status_is_documented() -> None:
    rows = re.findall(r"^\| ([0-9, ]+) \|", PAGE, re.MULTILINE)
    assert {int(each) for row in rows for each in row.split(",")} == set(Exit)
