"""Find regular expressions that take more than linear time, from their automata.

A pattern becomes a Glushkov automaton: one position for each character class, and edges for what
can follow. A backtracking matcher takes exponential time if a position has two ways back to itself
for one word, and at least quadratic time if a word leads from a loop both back to it and to a
second loop that takes the same word (Weideman and others, "Analyzing matching time behavior of
backtracking regular expression matchers", 2016). A search is a loop in front of the pattern.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from re import _constants, _parser
from typing import Any

codes: Any = _constants
parser: Any = _parser
#: Longer repetitions are treated as unbounded.
_MAX_COPIES = 4
_SEARCH = -1
Chars = frozenset[str]
_SAMPLES = '\0\t\n !"#%&()*+,-./0189:;<=>?@ABMYZ[\\]^_`abfmnyz{|}~é\u2028'


@dataclass
class _Part:
    """A part of a pattern: how it can be skipped, begin and end, and what may then follow."""

    skip: Chars | None
    first: dict[int, Chars] = field(default_factory=dict)
    last: dict[int, Chars] = field(default_factory=dict)


class Automaton:
    """The automaton of a pattern.

    Parameters
    ----------
    pattern
        A compiled pattern.
    searches
        Whether a match may begin anywhere.
    """

    def __init__(self, pattern: re.Pattern[str], *, searches: bool) -> None:
        tree = parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)
        self._flags = pattern.flags
        self.alphabet: Chars = frozenset(_SAMPLES) | frozenset(_literals(tree))
        self._classes: list[Chars] = []
        self._follow: dict[int, dict[int, Chars]] = {}
        self._doubled: set[tuple[int, int]] = set()
        whole = self._sequence(list(tree))
        self._accepting = set(whole.last)
        if searches and not _is_anchored(tree):
            self._classes.append(self.alphabet)
            self._follow[_SEARCH] = {**whole.first, _SEARCH: self.alphabet}

    def find_ambiguity(self) -> str:
        """Return why matching may take more than linear time, "" if it does not."""
        loops = [each for each in self._follow if self._reaches(each, each)]
        for source, target in self._doubled:
            if self._reaches(target, source):
                return "nested repetitions: exponential time"
        for p in loops:
            if p != _SEARCH and self._returns_twice(p):
                return "two ways through a repetition: exponential time"
            for q in loops:
                if q not in {p, _SEARCH} and self._can_fail_after(p, q) and self._pumps(p, q):
                    return "overlapping repetitions: quadratic time"
        return ""

    def _can_fail_after(self, p: int, q: int) -> bool:
        if p == _SEARCH:
            return q not in self._accepting
        return q not in self._accepting or self._follow[q].get(q) != self.alphabet

    def _edges(self, state: int) -> dict[int, Chars]:
        return self._follow.get(state, {})

    def _reaches(self, source: int, target: int) -> bool:
        return _is_reachable(source, lambda each: each == target, self._edges)

    def _returns_twice(self, p: int) -> bool:
        """Return whether one word leads from a position back to it in two ways."""

        def step(state: tuple[int, int, bool]) -> Iterable[tuple[int, int, bool]]:
            a, b, is_split = state
            for x, left in self._edges(a).items():
                for y, right in self._edges(b).items():
                    if left & right:
                        yield x, y, is_split or x != y

        return _is_reachable((p, p, False), lambda each: each == (p, p, True), step)

    def _pumps(self, p: int, q: int) -> bool:
        """Return whether one word leads from p to p, from p to q, and from q to q."""

        def step(state: tuple[int, int, int]) -> Iterable[tuple[int, int, int]]:
            a, b, c = state
            for x, one in self._edges(a).items():
                for y, two in self._edges(b).items():
                    if not (shared := one & two):
                        continue
                    for z, three in self._edges(c).items():
                        if shared & three:
                            yield x, y, z

        return _is_reachable((p, p, q), lambda each: each == (p, q, q), step)

    def _link(self, last: dict[int, Chars], first: dict[int, Chars]) -> None:
        for p, allowed in last.items():
            for q, chars in first.items():
                if not (both := allowed & chars):
                    continue
                edges = self._follow.setdefault(p, {})
                if edges.get(q, frozenset()) & both:
                    self._doubled.add((p, q))
                edges[q] = edges.get(q, frozenset()) | both

    def _sequence(self, nodes: list[Any]) -> _Part:
        whole = _Part(self.alphabet)
        for number, (code, value) in enumerate(nodes):
            if code in {codes.ASSERT, codes.ASSERT_NOT}:
                rest = self._sequence(nodes[number + 1 :])
                return self._join(whole, self._branch([self._sequence(list(value[1])), rest]))
            whole = self._join(whole, self._part(code, value))
        return whole

    def _join(self, one: _Part, two: _Part) -> _Part:
        self._link(one.last, two.first)
        skip = None if one.skip is None or two.skip is None else one.skip & two.skip
        joined = _Part(skip, dict(one.first), dict(two.last))
        if one.skip is not None:
            joined.first |= {q: chars & one.skip for q, chars in two.first.items()}
        if two.skip is not None:
            joined.last |= {p: allowed & two.skip for p, allowed in one.last.items()}
        return joined

    def _branch(self, parts: list[_Part]) -> _Part:
        skips = [part.skip for part in parts if part.skip is not None]
        merged = _Part(frozenset().union(*skips) if skips else None)
        for part in parts:
            merged.first |= part.first
            merged.last |= part.last
        return merged

    def _part(self, code: Any, value: Any) -> _Part:
        if code in {codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN}:
            return self._position(self._members(code, value))
        if code is codes.BRANCH:
            return self._branch([self._sequence(list(each)) for each in value[1]])
        if code is codes.SUBPATTERN:
            return self._sequence(list(value[-1]))
        if code is codes.ATOMIC_GROUP:
            return self._sequence(list(value))
        if code in {codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT}:
            return self._repeat(*value, is_possessive=code is codes.POSSESSIVE_REPEAT)
        if code is codes.AT:
            return _Part(self.alphabet)
        raise NotImplementedError(code)

    def _position(self, chars: Chars) -> _Part:
        position = len(self._classes)
        self._classes.append(chars)
        self._follow[position] = {}
        return _Part(None, {position: chars}, {position: self.alphabet})

    def _repeat(self, least: int, most: Any, nodes: Any, *, is_possessive: bool) -> _Part:
        if most is not codes.MAXREPEAT and most <= _MAX_COPIES:
            whole = _Part(self.alphabet)
            for number in range(most):
                copy = self._sequence(list(nodes))
                if number >= least:
                    copy.skip = copy.skip or self._left(copy, is_possessive=is_possessive)
                whole = self._join(whole, copy)
            return whole
        part = self._sequence(list(nodes))
        self._link(part.last, part.first)
        left = self._left(part, is_possessive=is_possessive)
        last = {p: allowed & left for p, allowed in part.last.items()}
        return _Part(left if least == 0 else part.skip, part.first, last)

    def _left(self, part: _Part, *, is_possessive: bool) -> Chars:
        """Return the characters that may follow a repetition: not those that it would take."""
        taken = frozenset().union(*part.first.values()) if is_possessive else frozenset()
        return self.alphabet - taken

    def _members(self, code: Any, value: Any) -> Chars:
        return frozenset(c for c in self.alphabet if self._contains(code, value, c))

    def _contains(self, code: Any, value: Any, character: str) -> bool:
        if code is codes.CATEGORY:
            return _is_in_category(value, character)
        if code is codes.ANY:
            return character != "\n" or bool(self._flags & re.DOTALL)
        if code is codes.IN:
            is_negated = value[0][0] is codes.NEGATE
            return (
                any(self._contains(one, more, character) for one, more in value) is not is_negated
            )
        folded = {character}
        if self._flags & re.IGNORECASE:
            folded |= {character.lower(), character.upper()}
        if code in {codes.LITERAL, codes.NOT_LITERAL}:
            return (chr(value) in folded) is (code is codes.LITERAL)
        if code is codes.RANGE:
            return any(value[0] <= ord(each) <= value[1] for each in folded if len(each) == 1)
        return False  # NEGATE


def _is_in_category(category: Any, character: str) -> bool:
    name = str(category)
    letter = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}[name.rpartition("_")[2]]
    return re.match(f"\\{letter.upper() if '_NOT_' in name else letter}", character) is not None


def _literals(tree: Any) -> Iterable[str]:
    """Yield the characters that a pattern names, and the ends of its ranges."""
    for code, value in tree:
        if code in {codes.LITERAL, codes.NOT_LITERAL}:
            yield chr(value)
        elif code is codes.RANGE:
            yield from map(chr, value)
        elif code is codes.IN:
            yield from _literals(value)
        elif code is codes.BRANCH:
            for each in value[1]:
                yield from _literals(each)
        elif code is codes.ATOMIC_GROUP:
            yield from _literals(value)
        elif isinstance(value, tuple):
            yield from _literals(value[-1])


def _is_anchored(tree: Any) -> bool:
    return len(tree) > 0 and tree[0] == (codes.AT, codes.AT_BEGINNING)


def _is_reachable(
    start: Any, is_target: Callable[[Any], bool], step: Callable[[Any], Iterable[Any]]
) -> bool:
    queue: deque[Any] = deque([start])
    seen: set[Hashable] = set()
    while queue:
        for state in step(queue.popleft()):
            if is_target(state):
                return True
            if state not in seen:
                seen.add(state)
                queue.append(state)
    return False
