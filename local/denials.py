"""Denied IAM actions: permanently, or for some calls as while a new policy propagates."""

from __future__ import annotations

import threading

from local.permissions import Decision


class Denials:
    """Actions that are denied to all callers. Thread-safe.

    `actions` are denied implicitly, `explicit` by an explicit Deny. Both can be changed.
    `next_calls` is the number of next calls of an action to deny: `{"s3:GetObject": 3}`.
    """

    def __init__(self) -> None:
        self.actions: set[str] = set()
        self.explicit: set[str] = set()
        self.next_calls: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, action: str) -> Decision | None:
        """Return the reason why this call of an action is denied, or None, and count the call."""
        if action in self.explicit:
            return Decision.DENIED
        with self._lock:
            left = self.next_calls.get(action, 0)
            if left:
                self.next_calls[action] = left - 1
        return Decision.NOT_ALLOWED if left or action in self.actions else None
