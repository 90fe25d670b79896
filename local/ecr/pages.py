"""Paginated lists (`maxResults`, `nextToken`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from local.ecr.errors import invalid_parameter

_DEFAULT_PAGE = 100
_PAGE_PREFIX = "page-from-"


def page(
    name: str, items: Sequence[Any], parameters: Mapping[str, Any], limit: int = 1000
) -> dict[str, Any]:
    """Return one page of items under `name`, with `nextToken` when there are more.

    Raises
    ------
    EcrError
        InvalidParameterException.
    """
    count = parameters.get("maxResults") or min(_DEFAULT_PAGE, limit)
    if not isinstance(count, int) or not 1 <= count <= limit:
        raise invalid_parameter("maxResults", f"between 1 and {limit}")
    token = parameters.get("nextToken")
    start = 0
    if token is not None:
        number = str(token).removeprefix(_PAGE_PREFIX)
        if number == token or not number.isdecimal():
            raise invalid_parameter("nextToken", "a token of an earlier response")
        start = int(number)
    response: dict[str, Any] = {name: list(items[start : start + count])}
    if start + count < len(items):
        response["nextToken"] = f"{_PAGE_PREFIX}{start + count}"
    return response
