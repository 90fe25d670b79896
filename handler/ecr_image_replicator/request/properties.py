"""Reading one property at a time, as CloudFormation delivers them: strings and all.

Each reader raises RequestError with a sentence that names the property and quotes its value.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from ecr_image_replicator.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_Value = TypeVar("_Value")


def read_text(properties: Mapping[str, Any], name: str, *, secret: bool = False) -> str | None:
    """Read a text; None when it is missing or empty. A secret's value is not quoted."""
    value = properties.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise RequestError(f"{name}{'' if secret else f' {shown(value)}'} is not a text")
    return value.strip() or None


def read_required(properties: Mapping[str, Any], name: str) -> str:
    """Read a text that must be there."""
    value = read_text(properties, name)
    if value is None:
        raise RequestError(f"the property {name} is missing")
    return value


def read_texts(properties: Mapping[str, Any], name: str) -> list[str]:
    """Read a list, or a comma list, of texts; empty ones are dropped."""
    value = properties.get(name)
    if value is None:
        return []
    values = value.split(",") if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise RequestError(f"{name} {shown(value)} is not a list of texts")
    return [each.strip() for each in values if each.strip()]


def read_boolean(properties: Mapping[str, Any], name: str) -> bool:
    """Read true or false, as itself or as a text; false when it is missing."""
    value = properties.get(name)
    if isinstance(value, bool):
        return value
    if value is None or value == "":
        return False
    if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
        return value.strip().lower() == "true"
    raise RequestError(f"{name} {shown(value)} is neither true nor false")


def read_choice(
    properties: Mapping[str, Any], name: str, choices: Collection[str], default: str
) -> str:
    """Read one of several words, in any case; given back as it stands in the choices."""
    value = read_text(properties, name)
    if value is None:
        return default
    for choice in choices:
        if value.lower() == choice.lower():
            return choice
    raise RequestError(f"{name} {shown(value)} is none of {', '.join(choices)}")


def read_object(properties: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Read a map, or a map as JSON text; empty when it is missing."""
    value = properties.get(name)
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{name} {shown(value)} is neither a map nor JSON") from error
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise RequestError(f"{name} {shown(value)} is not a map")
    return value


def read_number(values: Mapping[str, Any], key: str, name: str, default: float) -> float:
    """Read a finite number of a map; `name` is the map's."""
    value = values.get(key, default)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = float("nan")
        if abs(number) < float("inf"):
            return number
    raise RequestError(f"{name}.{key} {shown(value)} is not a number")


def refuse_unknown_keys(values: Mapping[str, Any], name: str, known: Collection[str]) -> None:
    """Refuse a map's key that has no meaning."""
    for key in values:
        if key not in known:
            raise RequestError(f"{name} has {shown(key)}; it takes {', '.join(known)}")


def parse_as(name: str, parse: Callable[[str], _Value], text: str) -> _Value:
    """Parse a property's text; the parser's sentence is put after the property's name."""
    try:
        return parse(text)
    except RequestError as error:
        raise RequestError(f"{name}: {error}") from error


def shown(value: object) -> str:
    """Quote a value, cut to a sensible length."""
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
