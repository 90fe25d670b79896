"""The reader for RetryConfigs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ecr_image_replicator.errors import Setting
from ecr_image_replicator.request.properties import (
    Key,
    invalid,
    read_number,
    read_object,
    reject_unknown_keys,
)
from ecr_image_replicator.retries import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ATTEMPTS: Final = 20
_MAX_DELAY_SECONDS: Final = 900
_RETRY_KEYS: Final = ("numAttempts", "baseDelay", "maxDelay")


def parse_retries(properties: Mapping[str, Any]) -> RetryPolicy:
    """Parse RetryConfigs.

    Raises
    ------
    RequestError
        A key is unknown, or a value is out of range.
    """
    setting = Setting.RETRIES
    values = read_object(properties, setting)
    reject_unknown_keys(values, setting, _RETRY_KEYS)
    default = RetryPolicy()
    key = Key(setting, "numAttempts")
    attempts = read_number(values, key, default.attempts)
    if attempts != int(attempts) or not 1 <= attempts <= MAX_ATTEMPTS:
        raise invalid(key, f"{attempts:g} is not a whole number from 1 to {MAX_ATTEMPTS}")
    base = read_number(values, Key(setting, "baseDelay"), default.base_delay_seconds)
    longest = read_number(values, Key(setting, "maxDelay"), max(base, default.max_delay_seconds))
    if not 0 <= base <= longest <= _MAX_DELAY_SECONDS:
        raise invalid(
            setting,
            f"baseDelay {base:g} s and maxDelay {longest:g} s",
            hint=f"Use 0 to {_MAX_DELAY_SECONDS} s, and baseDelay at most maxDelay.",
        )
    return RetryPolicy(int(attempts), base, longest)
