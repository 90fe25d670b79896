"""Making somebody else's words fit for our sentences and log lines."""

from __future__ import annotations

import re
from typing import Final

_QUERY: Final = re.compile(r"(https?://[^\s?]*)\?\S*")
#: An Authorization header that whoever was sent it repeats; "Basic authentication" is none.
_AUTHORIZATION: Final = re.compile(
    r"\b((?i:basic|bearer))[\s:=]+(?![a-z]+[.,;:]?(?:\s|$))[^\s\"',;]{6,}"
)


def sanitize(text: object, most_characters: int) -> str:
    """Give a text as one bounded line, "" for what is no text.

    Without any URL's query, which may be a signature, and without authorization that it repeats.
    """
    if not isinstance(text, str):
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = _AUTHORIZATION.sub(r"\1 …", _QUERY.sub(r"\1", line))
    return line if len(line) <= most_characters else line[: most_characters - 3] + "..."
