"""Text from servers, users and libraries, made safe for messages and log lines."""

from __future__ import annotations

import re
import traceback
from pathlib import PurePath
from typing import Final

#: What is looked at beyond the limit, so that a secret that crosses the limit is removed whole.
_LOOKAHEAD_CHARACTERS: Final = 8192
#: Of a URL, and of the path that is left of one: "GET /v2/?signature=…".
_QUERY: Final = re.compile(r"(https?://[^\s?]*+)(?:\?\S*+)?+|\?[^\s?=]++=\S*+", re.IGNORECASE)
#: An Authorization header that a server repeats; "Basic authentication" is none.
_AUTHORIZATION: Final = r"\b((?i:basic|bearer))[\s:=]++(?![a-z]++[.,;:]?+(?:\s|$))[^\s\"',;]{6,}+"


def printable(text: str) -> str:
    """Return a text with a space for each character that a terminal or a log may interpret."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def sanitize(text: object, max_characters: int) -> str:
    """Return a text as one line of limited length, "" for anything that is not a text.

    Each query, which may be a signature, and each Authorization header are removed.
    Takes linear time, and looks at the first characters of a long text only.
    """
    if not isinstance(text, str):
        return ""
    cut = max_characters + _LOOKAHEAD_CHARACTERS
    line = _QUERY.sub(r"\1", " ".join(printable(text[:cut]).split()))
    line = re.sub(_AUTHORIZATION, r"\1 …", line)
    is_whole = len(text) <= cut and len(line) <= max_characters
    return line if is_whole else line[: max_characters - 3] + "..."


def raised_at(error: BaseException) -> str:
    """Return the file and line where an exception was raised; its text may quote secrets."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{PurePath(frame.filename).name}:{frame.lineno}"
