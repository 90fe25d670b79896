"""Denied IAM actions: for good, or for a number of calls as while a new policy propagates."""

from __future__ import annotations

import threading

from local.permissions import Decision


class Denials:
    """The actions that are denied to everybody. Safe for threads.

    `actions` are denied for want of an Allow, `explicit` by an explicit Deny; both may be changed.
    `next_calls` says how many of an action's next calls are denied, `{"s3:GetObject": 3}`.
    """

    def __init__(self) -> None:
        self.actions: set[str] = set()
        self.explicit: set[str] = set()
        self.next_calls: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, action: str) -> Decision | None:
        """Return why this call of an action is denied, and count it; None if it is not."""
        if action in self.explicit:
            return Decision.DENIED
        with self._lock:
            left = self.next_calls.get(action, 0)
            if left:
                self.next_calls[action] = left - 1
        return Decision.NOT_ALLOWED if left or action in self.actions else None
