"""WWW-Authenticate challenges (RFC 9110, section 11.6.1)."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_TOKEN_CHARACTERS: Final = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
_BLANKS: Final = frozenset(" \t")
#: Longer headers are cut: no registry sends one, and a challenge is a few hundred characters.
_MAX_CHARACTERS: Final = 16 * 1024


class Challenge(NamedTuple):
    """One challenge; the scheme and the names of the parameters are lowercase."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Parse the values of all WWW-Authenticate headers of one response.

    Accepts what registries send beyond the grammar: values without quotes that are no tokens,
    and parameters separated by blanks alone. Skips what cannot be parsed.
    """
    challenges: list[Challenge] = []
    for value in values:
        challenges += _Scanner(value[:_MAX_CHARACTERS]).scan()
    return challenges


class _Scanner:
    """Reads one header from left to right, each character once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def scan(self) -> list[Challenge]:
        challenges: list[Challenge] = []
        while self._position < len(self._text):
            word = self._take(_TOKEN_CHARACTERS)
            if not word:
                self._position += 1  # a blank, a comma, or a character that means nothing here
                continue
            self._take(_BLANKS)
            if not self._follows("="):
                challenges.append(Challenge(word.lower(), {}))
                continue
            self._position += 1
            self._take(_BLANKS)
            value = self._take_value()
            if challenges:
                challenges[-1].parameters.setdefault(word.lower(), value)
        return challenges

    def _take(self, characters: frozenset[str]) -> str:
        start = self._position
        while self._position < len(self._text) and self._text[self._position] in characters:
            self._position += 1
        return self._text[start : self._position]

    def _take_value(self) -> str:
        return self._take_quoted() if self._follows('"') else self._take_plain()

    def _take_plain(self) -> str:
        """Take a value without quotes, such as a URL, up to a comma, a blank or a quote."""
        start = self._position
        while self._position < len(self._text) and self._text[self._position] not in ' \t,"':
            self._position += 1
        return self._text[start : self._position]

    def _take_quoted(self) -> str:
        """Take a quoted string; one without an end goes to the end of the header."""
        self._position += 1
        characters: list[str] = []
        while self._position < len(self._text):
            character = self._text[self._position]
            self._position += 1
            if character == '"':
                break
            if character == "\\" and self._position < len(self._text):
                character = self._text[self._position]
                self._position += 1
            characters.append(character)
        return "".join(characters)

    def _follows(self, character: str) -> bool:
        return self._text.startswith(character, self._position)
