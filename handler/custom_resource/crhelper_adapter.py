"""crhelper's custom resource, with the parts replaced that break the contract.

crhelper dispatches a request to the function registered with `@helper.create`, `@helper.update` or
`@helper.delete`, and keeps status, reason, data and physical resource ID. Replaced here:

- it would log the event with its response URL, create three AWS clients at import, and sleep for
  two minutes on Delete;
- it sends a response without checking the HTTP status, cuts reasons at 256 characters, and responds
  twice when its timer fires while the work ends.

The invocation is passed as crhelper's `context`, so no state of one request outlives it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, Protocol

from custom_resource.response import failed_physical_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


#: Two threads that changed the variable at once would leave it set.
_LOCK = threading.Lock()


@contextlib.contextmanager
def _without_clients() -> Iterator[None]:
    """Keep crhelper from creating AWS clients for polling and from changing the root logger."""
    name = "AWS_SAM_LOCAL"
    with _LOCK:
        level = logging.root.level
        before = os.environ.get(name)
        os.environ[name] = "true"
        try:
            yield
        finally:
            logging.root.setLevel(level)
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before


with _without_clients():
    from crhelper import CfnResource

# at DEBUG it logs the whole event, with the response URL and credentials
logging.getLogger("crhelper").setLevel(logging.CRITICAL)

REQUEST_TYPES = ("Create", "Update", "Delete")


class RequestInProgress(Protocol):
    """What the adapter needs of one request."""

    def start_timer(self) -> threading.Timer:
        """Start the timer that responds before Lambda stops the function."""

    def respond(
        self, status: str, physical_resource_id: str, *, reason: str, data: Mapping[str, str]
    ) -> None:
        """Send the response, unless there was one."""

    def respond_to_defect(self) -> None:
        """Send FAILED for an exception outside the registered functions."""


class CustomResourceHelper(CfnResource):
    """A CfnResource that is called with an event and a `RequestInProgress`."""

    # crhelper does not annotate these
    Status: str
    Reason: str
    PhysicalResourceId: str
    Data: dict[str, str]
    _context: RequestInProgress
    _timer: threading.Timer

    def __init__(self) -> None:
        with _without_clients():
            super().__init__(log_level="CRITICAL", boto_level="CRITICAL")

    def generate_physical_id(self, event: Mapping[str, Any]) -> str:
        """Return the ID of a resource that was not created; Delete does nothing for it."""
        return failed_physical_id(event)

    def _set_timeout(self) -> None:
        self._timer = self._context.start_timer()

    def _send(self, status: str | None = None, _reason: str = "", **_: Any) -> None:
        if status is not None:
            # crhelper caught an exception of its own; the message may be a library's
            self._context.respond_to_defect()
        else:
            self._context.respond(
                self.Status, str(self.PhysicalResourceId), reason=self.Reason, data=self.Data
            )

    def _wait_for_cwlogs(self, *_: Any) -> None:
        """Do not sleep: the log group outlives the stacks."""

    def _log_setup(self, *_: Any) -> None:
        """Leave logging to the entry point."""
