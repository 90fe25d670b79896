"""The Link header (RFC 8288), read once from left to right."""

from __future__ import annotations

from typing import Final

_MAX_CHARACTERS: Final = 32 * 1024


def find_next_link(value: str) -> str | None:
    """Return the target of the first link whose relation is ``next``; None when there is none.

    Parameters
    ----------
    value
        A Link header; several are separated by commas.
    """
    if len(value) > _MAX_CHARACTERS:
        return None
    position = value.find("<")
    while position >= 0:
        end = value.find(">", position)
        if end < 0:
            return None
        parameters, after = _split_parameters(value, end + 1)
        if any(map(_is_next, parameters)):
            return value[position + 1 : end]
        position = value.find("<", after)
    return None


def _split_parameters(value: str, start: int) -> tuple[list[str], int]:
    """Return a link's parameters, and where the next link may begin."""
    parameters, begin, is_quoted, is_escaped = [], start, False, False
    for position in range(start, len(value)):
        character = value[position]
        if is_escaped:
            is_escaped = False
        elif is_quoted:
            is_escaped, is_quoted = character == "\\", character != '"'
        elif character in ",;":
            parameters.append(value[begin:position])
            begin = position + 1
            if character == ",":
                return parameters, begin
        else:
            is_quoted = character == '"'
    parameters.append(value[begin:])
    return parameters, len(value)


def _is_next(parameter: str) -> bool:
    name, _, relations = parameter.partition("=")
    found = relations.strip().strip('"').lower().split()
    return name.strip().lower() == "rel" and "next" in found
