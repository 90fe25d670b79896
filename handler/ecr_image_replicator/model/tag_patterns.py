"""Globs over tags: ``*``, ``?`` and ``[…]``."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import Final

from ecr_image_replicator.errors import RequestError

_MAX_CHARACTERS: Final = 128
_CHARACTERS: Final = re.compile(r"[A-Za-z0-9_.*?\[\]!-]+")
_SETS: Final = re.compile(r"\[!?\]?[^\[\]]*\]")
#: Tags that stand for a digest: cosign's, and the fallback tags of the referrers API.
_DIGEST_TAG: Final = re.compile(r"sha(?:256|512)-[0-9a-f]{32,}.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TagPattern:
    """A glob, or an exact tag when it has no special character.

    Attributes
    ----------
    text
        As it was written.
    """

    text: str

    @property
    def is_exact(self) -> bool:
        """Whether it matches one tag only."""
        return not any(mark in self.text for mark in "*?[")

    def matches(self, text: str) -> bool:
        """Return whether a tag, or a version's suffix, matches."""
        return fnmatch.fnmatchcase(text, self.text)


def parse_tag_pattern(text: str) -> TagPattern:
    """Parse a glob.

    Raises
    ------
    RequestError
        It has a character that no tag has, or a ``[`` without its ``]``.
    """
    if len(text) > _MAX_CHARACTERS or not _CHARACTERS.fullmatch(text):
        raise RequestError(
            f"invalid tag or glob {text[:_MAX_CHARACTERS]!r}: it takes 1 to {_MAX_CHARACTERS} "
            "letters, digits, '_', '.', '-' and the wildcards '*', '?' and '[…]'"
        )
    if "[" in _SETS.sub("", text) or "]" in _SETS.sub("", text):
        raise RequestError(f"invalid glob {text!r}: a bracket is not closed or not opened")
    return TagPattern(text)


def is_digest_tag(tag: str) -> bool:
    """Return whether a tag stands for a digest (``sha256-…``), as signatures' tags do."""
    return _DIGEST_TAG.fullmatch(tag) is not None
