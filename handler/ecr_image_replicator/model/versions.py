"""Tags that are versions, and ranges of them.

A version is an optional ``v`` and one to four numbers; missing numbers count as 0. Whatever follows
the numbers is the suffix: ``v1.25.3-alpine3.20`` is 1.25.3 with the suffix ``-alpine3.20``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ecr_image_replicator.errors import RequestError

_PARTS: Final = 4
_TAG: Final = re.compile(r"v?([0-9]+(?:\.[0-9]+){0,3})(.*)", re.DOTALL)
_COMPARATOR: Final = re.compile(r"(>=|<=|>|<|=|\^|~)?v?([0-9]+(?:\.[0-9]+){0,3})")
_WILDCARD: Final = re.compile(r"v?([0-9]+(?:\.[0-9]+){0,2})\.\*")
#: An operator may stand apart from its version: ``>= 1.25``.
_SPACED_OPERATOR: Final = re.compile(r"(>=|<=|>|<|=|\^|~)\s+")
_RUN: Final = re.compile(r"[0-9]+|[^0-9]+")
_DIGITS: Final = frozenset("0123456789")
_MAX_RANGE_CHARACTERS: Final = 500

Numbers = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Version:
    """A version as a tag writes it.

    Attributes
    ----------
    numbers
        As many as the tag has, one to four.
    suffix
        What follows them; "" for a release.
    """

    numbers: Numbers
    suffix: str = ""

    @property
    def padded(self) -> Numbers:
        """All four numbers."""
        return _pad(self.numbers)

    @property
    def order(self) -> tuple[Numbers, int, tuple[tuple[int, int, str], ...]]:
        """A sort key: by number, then the longer first, then the suffix in natural order."""
        return self.padded, len(self.numbers), natural_order(self.suffix)


def parse_version(tag: str) -> Version | None:
    """Parse a tag as a version; None when it does not begin like one."""
    found = _TAG.fullmatch(tag)
    return Version(_numbers(found[1]), found[2]) if found else None


def natural_order(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that compares runs of digits as numbers: ``alpine3.9`` < ``alpine3.20``."""
    return tuple(
        (1, int(run), run) if run[0] in _DIGITS else (0, 0, run) for run in _RUN.findall(text)
    )


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A set of versions, by their numbers alone.

    Attributes
    ----------
    text
        As it was written.
    intervals
        Of padded numbers, each from its first (included) to its last (excluded, None for no end).
    """

    text: str
    intervals: tuple[tuple[Numbers, Numbers | None], ...]

    def contains(self, version: Version) -> bool:
        """Return whether a version's numbers are in the range."""
        numbers = version.padded
        return any(
            low <= numbers and (high is None or numbers < high) for low, high in self.intervals
        )


def parse_version_range(text: str) -> VersionRange:
    """Parse ``>=1.25 <2``, ``^1.2``, ``~1.2.3``, ``1.*``, ``*``, or several joined by ``||``.

    Comparators next to each other, separated by spaces or commas, must all hold.

    Raises
    ------
    RequestError
        It is malformed, or no version can be in it.
    """
    if len(text) > _MAX_RANGE_CHARACTERS:
        raise RequestError(f"invalid version range of {len(text)} characters")
    intervals: list[tuple[Numbers, Numbers | None]] = []
    for alternative in text.split("||"):
        words = _SPACED_OPERATOR.sub(r"\1", alternative).replace(",", " ").split()
        if not words:
            raise _invalid(text, "a comparator is missing")
        low, high = _intersection([_parse_comparator(text, word) for word in words])
        if high is not None and low >= high:
            raise _invalid(text, f"no version is in {alternative.strip()!r}")
        intervals.append((low, high))
    return VersionRange(text, tuple(intervals))


def _intersection(
    intervals: list[tuple[Numbers, Numbers | None]],
) -> tuple[Numbers, Numbers | None]:
    highs = [high for _, high in intervals if high is not None]
    return max(low for low, _ in intervals), min(highs) if highs else None


def _parse_comparator(text: str, word: str) -> tuple[Numbers, Numbers | None]:
    if word == "*":
        return _pad(()), None
    wildcard = _WILDCARD.fullmatch(word)
    if wildcard:
        numbers = _numbers(wildcard[1])
        return _pad(numbers), _next(numbers, len(numbers))
    found = _COMPARATOR.fullmatch(word)
    if found is None:
        raise _invalid(
            text, f"{word!r} is not a comparator such as >=1.25, <2, ^1.2, ~1.2.3 or 1.*"
        )
    operator, numbers = found[1] or "=", _numbers(found[2])
    exact, after = _pad(numbers), _next(numbers, _PARTS)
    # ^ keeps the first number that is not 0
    kept = next((i for i, number in enumerate(numbers, 1) if number), len(numbers))
    return {
        "=": (exact, after),
        ">=": (exact, None),
        ">": (after, None),
        "<": (_pad(()), exact),
        "<=": (_pad(()), after),
        "~": (exact, _next(numbers, min(len(numbers), 2))),
        "^": (exact, _next(numbers, kept)),
    }[operator]


def _next(numbers: Numbers, count: int) -> Numbers:
    """Return the first version after all that share so many numbers with this one."""
    shared = _pad(numbers)[:count]
    return _pad((*shared[:-1], shared[-1] + 1))


def _pad(numbers: Numbers) -> Numbers:
    return (*numbers, *(0,) * (_PARTS - len(numbers)))


def _numbers(text: str) -> Numbers:
    return tuple(map(int, text.split(".")))


def _invalid(text: str, reason: str) -> RequestError:
    return RequestError(f"invalid version range {text!r}: {reason}")
