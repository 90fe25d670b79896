"""The commands on the pages: fenced blocks whose info string begins with ``console``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/*.md")
    for page in ROOT.glob(pattern)
    if "node_modules" not in page.parts
)
#: What a block may need beside this repository, and how its commands begin.
NEEDS: Final = {
    "aws": re.compile(r"aws |sam deploy|sam delete|npx aws-cdk deploy|function=\$\(output"),
    "docker": re.compile(r"sam local invoke"),
    "github": re.compile(r"gh "),
}
_FENCE: Final = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEREDOC: Final = re.compile(r" > \S+ <<'(\w+)'\n.*?^\1$", re.MULTILINE | re.DOTALL)
#: Four spaces after an empty line, outside lists.
_INDENTED: Final = re.compile(r"(?:\A|^(?! *(?:[-*]|\d+\.) )[^\n]*\n)\n {4}\S", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of commands.

    Attributes
    ----------
    page
        Its file.
    needs
        The word after ``console``: a key of `NEEDS`, "" for nothing.
    text
        Its lines.
    """

    page: Path
    needs: str
    text: str

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands, each on one line, without comments and here-documents."""
        text = _HEREDOC.sub("", self.text).replace("\\\n", " ")
        lines = (re.sub(r"(?:^|\s)#\s.*$", "", line) for line in text.splitlines())
        parts = (part for line in lines for part in re.split(r" && ", line))
        return tuple(" ".join(part.split()) for part in parts if part.strip())


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def fences(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the info string and the text of each fenced block."""
    yield from _FENCE.findall(page.read_text())


def blocks() -> Iterator[Block]:
    """Yield the blocks of commands of all pages."""
    for page in PAGES:
        for info, text in fences(page):
            word, _, needs = info.partition(" ")
            if word == "console":
                yield Block(page, needs, text)


def indented_code(page: Path) -> list[str]:
    """Return the beginnings of code blocks that are indented instead of fenced."""
    return _INDENTED.findall(_FENCE.sub("```", page.read_text()))


def local_commands() -> dict[str, Path]:
    """Return the commands that need nothing, each with a page that has it."""
    return {
        command: block.page for block in blocks() if not block.needs for command in block.commands
    }


def aws_commands() -> Iterator[tuple[str, list[str]]]:
    """Yield each command of the AWS command line, with its page, as words."""
    for block in blocks():
        for command in block.commands:
            if command.startswith("aws "):
                yield name_of(block.page), shlex.split(command)
