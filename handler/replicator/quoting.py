"""Making somebody else's words fit for our sentences and log lines."""

from __future__ import annotations

import re


def printable(text: object, most_characters: int) -> str:
    """Give a text as one bounded line without any URL's query, "" for what is no text."""
    if not isinstance(text, str):
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", line)
    return line if len(line) <= most_characters else line[: most_characters - 3] + "..."
