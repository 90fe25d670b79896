"""crhelper's custom resource, less what the contract does not want of it.

crhelper dispatches events to hooks, minds the clock and knows the ids. It would also log the event
with its response URL and credentials, make three AWS clients at import, sleep two minutes on a
Delete, and poll. The rest of what it does otherwise is overridden in `lifecycle`: it sends without
looking at the status, cuts reasons at 256 characters, and answers twice when its timer and the work
end together.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from ecr_image_replicator.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@contextlib.contextmanager
def _without_clients() -> Iterator[None]:
    """Keep crhelper from making AWS clients that only its polling needs, and from the root log."""
    level = logging.root.level
    name = "AWS_SAM_LOCAL"
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

# at DEBUG it writes out the whole event, with its response URL and credentials
logging.getLogger("crhelper").setLevel(logging.CRITICAL)


class CustomResource(CfnResource):
    """A resource whose hooks are called for CloudFormation's events, and that does nothing else."""

    # crhelper's own, which it does not annotate
    Status: str
    Reason: str
    PhysicalResourceId: str
    RequestType: str
    _event: dict[str, Any]
    _context: Any
    _timer: threading.Timer
    _response_url: str
    _create_func: Callable[..., Any]
    _update_func: Callable[..., Any]
    _delete_func: Callable[..., Any]

    def __init__(self) -> None:
        with _without_clients():
            super().__init__(log_level="CRITICAL", boto_level="CRITICAL", sleep_on_delete=0)

    def _poll_enabled(self) -> bool:
        """Never poll; crhelper's own would stumble over an unknown RequestType."""
        return False

    def _get_func(self) -> Callable[..., Any]:
        hooks = {
            "Create": self._create_func,
            "Update": self._update_func,
            "Delete": self._delete_func,
        }
        return hooks.get(self.RequestType, _refuse)

    def _log_setup(self, *_: Any) -> None:
        """Leave logging to the entry point; crhelper would log the event."""


def _refuse(event: Mapping[str, Any], _: Any) -> None:
    raise RequestError(
        f"the RequestType {event['RequestType']!r} is not known; CloudFormation sends Create, "
        "Update and Delete"
    )
