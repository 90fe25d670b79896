"""The part of an invocation's time that is reserved for its response."""

from __future__ import annotations

from typing import Final

_MIN_RESERVE_SECONDS: Final = 2.0
_MAX_RESERVE_SECONDS: Final = 20.0


def reserve_seconds(total_seconds: float) -> float:
    """Return how many of the seconds are kept for the response: a tenth, 2 to 20, at most half."""
    wanted = min(_MAX_RESERVE_SECONDS, max(_MIN_RESERVE_SECONDS, total_seconds / 10))
    return min(wanted, total_seconds / 2)
