"""Retries of denied requests while a new IAM permission takes effect.

IAM is eventually consistent: a policy created in the same stack may deny for seconds to a minute
(IAM User Guide, "Troubleshoot IAM", "Changes that I make are not always immediately visible").
"""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.errors import RegistryError

_LOGGER: Final = logging.getLogger(__name__)
#: Seconds from the start of a request in which a denial may be one that passes.
WINDOW_SECONDS: Final = 90.0
_MAX_DELAY_SECONDS: Final = 16.0


class PendingPermissionError(TransientError):
    """Access was denied while sending a body, and a new permission may still take effect.

    Parameters
    ----------
    denial
        The error to raise if it does not.
    """

    def __init__(self, denial: RegistryError) -> None:
        super().__init__(*denial.message, hint=denial.hint)
        self.denial: Final = denial


class PermissionPropagation:
    """The time in which a denial is retried, shared by all requests of a replication.

    Parameters
    ----------
    deadline
        No wait exceeds it.
    seconds
        From now until a denial is final.
    clock
        Seconds since any moment.
    draw
        Returns a random number from 0 to 1.
    """

    def __init__(
        self,
        deadline: Deadline,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._deadline = deadline
        self._clock = clock
        self._draw = draw
        self._until = clock() + seconds
        self._lock = threading.Lock()
        self._logged: set[str] = set()

    @classmethod
    def since(
        cls,
        began_at: float,
        seconds: float,
        deadline: Deadline,
        *,
        clock: Callable[[], float] = time.time,
    ) -> PermissionPropagation:
        """Return the retries of a request that began at a time of the clock."""
        return cls(deadline, seconds - (clock() - began_at), clock=clock)

    @property
    def is_open(self) -> bool:
        """Whether a denial may still be one that passes."""
        return self._clock() < self._until

    def wait_after(self, attempt: int, denial: str) -> bool:
        """Wait before a denied request is sent again; return False if the denial is final.

        Parameters
        ----------
        attempt
            The number of denials of this request, from 1.
        denial
            The service's message, without secrets. The first of each kind is logged at once.

        Raises
        ------
        StoppedError
            The deadline was stopped.
        """
        remaining_seconds = self._until - self._clock()
        if remaining_seconds <= 0:
            return False
        self._log(denial, remaining_seconds)
        delay_seconds = min(_MAX_DELAY_SECONDS, 2.0 ** min(attempt - 1, 10))
        jittered_seconds = delay_seconds * (0.5 + self._draw() / 2)
        return self._deadline.wait(min(remaining_seconds, jittered_seconds))

    def _log(self, denial: str, remaining_seconds: float) -> None:
        with self._lock:
            if denial in self._logged:
                return
            self._logged.add(denial)
        _LOGGER.warning(
            "access denied, retrying for up to %.0f s in case a new permission is not in effect "
            "yet: %s",
            remaining_seconds,
            denial,
        )


def is_explicit_deny(message: str) -> bool:
    """Return whether an access denied message names an explicit Deny, which does not pass.

    IAM User Guide, "Troubleshoot access denied error messages": "… with an explicit deny in a
    service control policy". No error code distinguishes it from a missing Allow.
    """
    return "explicit deny" in message.lower()
