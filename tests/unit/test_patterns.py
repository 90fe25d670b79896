"""Regular expressions take linear time: a received text could otherwise stop the whole process.

While a pattern is matched, neither the deadline nor the response timer runs.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.unit.pattern_analysis import Automaton

HANDLER = Path(__file__).parents[2] / "handler"
_SEARCHES = frozenset({"findall", "finditer", "search", "split", "sub", "subn"})
_MATCHES = frozenset({"fullmatch", "match"})


@dataclass(frozen=True)
class Use:
    """A pattern of the program, and whether matches may begin anywhere."""

    name: str
    pattern: re.Pattern[str]
    searches: bool


def _uses() -> Iterator[Use]:
    trees = {path: ast.parse(path.read_text()) for path in sorted(HANDLER.rglob("*.py"))}
    methods: dict[str, set[str]] = {}
    for node in (each for tree in trees.values() for each in ast.walk(tree)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            methods.setdefault(node.value.id, set()).add(node.attr)
    for path, tree in trees.items():
        name = ".".join(path.relative_to(HANDLER).with_suffix("").parts).removesuffix(".__init__")
        calls = [
            each for each in ast.walk(tree) if isinstance(each, ast.Call) and _is_re(each.func)
        ]
        if not calls or name == "app":
            continue
        variables = vars(importlib.import_module(name))
        for variable, value in variables.items():
            if isinstance(value, re.Pattern):
                used = methods.get(variable, set()) or _attributes(tree)
                searches = bool(used & _SEARCHES) or not used & _MATCHES
                yield Use(f"{name}.{variable}", value, searches)
        for call in calls:
            if isinstance(call.func, ast.Attribute) and call.func.attr != "compile":
                yield _inline(call, f"{name}:{call.lineno}", variables)


def _attributes(tree: ast.AST) -> set[str]:
    """Return the methods that a module calls on anything, for a pattern that it iterates over."""
    return {each.attr for each in ast.walk(tree) if isinstance(each, ast.Attribute)}


def _is_re(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "re"
        and function.attr in {"compile", *_SEARCHES, *_MATCHES}
    )


def _inline(call: ast.Call, name: str, variables: Mapping[str, object]) -> Use:
    """Return the use of a pattern that is compiled when it is first needed."""
    pattern = call.args[0]
    text = getattr(pattern, "value", None)
    if isinstance(pattern, ast.Name):
        text = variables.get(pattern.id)
    assert isinstance(text, str), f"{name}: name the pattern, so that it is checked"
    flags = next((each.value for each in call.keywords if each.arg == "flags"), None)
    named = getattr(re, flags.attr) if isinstance(flags, ast.Attribute) else 0
    assert isinstance(call.func, ast.Attribute)
    return Use(name, re.compile(text, named), call.func.attr in _SEARCHES)


USES = list(_uses())


def test_the_patterns_of_the_program_are_found() -> None:
    names = {use.name for use in USES}
    assert len(names) > 30
    assert {
        "ecr_image_replicator.sanitize._QUERY",
        "ecr_image_replicator.registry.http.urls._ABSOLUTE",
        "ecr_image_replicator.model.references._COMPONENT",
    } <= names


@pytest.mark.parametrize("use", USES, ids=lambda use: use.name)
def test_a_pattern_has_no_nested_or_overlapping_repetitions(use: Use) -> None:
    assert not Automaton(use.pattern, searches=use.searches).find_ambiguity()


@pytest.mark.parametrize(
    ("text", "searches", "found"),
    [
        ("(a*)*b", False, "exponential"),
        ("(?:a|aa)+b", False, "exponential"),
        (r"s3(?:[.-][a-z0-9-]+)*\.amazonaws", False, "exponential"),
        ("a*a*b", False, "quadratic"),
        (r"\s+x", True, "quadratic"),
        (r"\s++x", True, "quadratic"),
        (r"<([^>]*)>\s*;[^,]*\brel=next", True, "quadratic"),
        (r"(https?://[^\s?]*)\?\S*", True, "quadratic"),
        (r"\s+x", False, ""),
        (r"^\s+x", True, ""),
        (r"a*+b", False, ""),
        (r"[a-z]+(?:\.[a-z]+)*", False, ""),
        (r"(https?://[^\s?]*+)(?:\?\S*+)?+", True, ""),
    ],
)
def test_ambiguous_patterns_are_recognized(text: str, searches: bool, found: str) -> None:
    ambiguity = Automaton(re.compile(text), searches=searches).find_ambiguity()
    assert found in ambiguity if found else not ambiguity
