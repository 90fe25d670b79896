"""Text from servers and users, made safe for messages and log lines."""

from __future__ import annotations

import re
from typing import Final

#: What is looked at beyond the limit, so that a secret that crosses the limit is removed whole.
_LOOKAHEAD_CHARACTERS: Final = 8192
_URL: Final = re.compile(r"(https?://[^\s?]*+)(?:\?\S*+)?+", re.IGNORECASE)
#: An Authorization header that a server repeats; "Basic authentication" is none.
_AUTHORIZATION: Final = r"\b((?i:basic|bearer))[\s:=]++(?![a-z]++[.,;:]?+(?:\s|$))[^\s\"',;]{6,}+"


def sanitize(text: object, max_characters: int) -> str:
    """Return a text as one line of limited length, "" for anything that is not a text.

    The query of each URL, which may be a signature, and each Authorization header are removed.
    Takes linear time, and looks at the first characters of a long text only.
    """
    if not isinstance(text, str):
        return ""
    cut = max_characters + _LOOKAHEAD_CHARACTERS
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:cut]).split())
    line = re.sub(_AUTHORIZATION, r"\1 …", _URL.sub(r"\1", line))
    is_whole = len(text) <= cut and len(line) <= max_characters
    return line if is_whole else line[: max_characters - 3] + "..."
