"""Pull rate limits, as Docker Hub's headers describe them.

Docker Hub, "Usage and limits": ``ratelimit-limit: 100;w=21600``, the same of what remains, and
``docker-ratelimit-source``; a registry without limits sends none of them.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from ecr_image_replicator.errors import ThrottledError
from ecr_image_replicator.model.references import DOCKER_HUB
from ecr_image_replicator.registry.error_bodies import describe_response, error_code
from ecr_image_replicator.request.credentials import CREDENTIALS_SETTINGS
from ecr_image_replicator.retries import parse_retry_after
from ecr_image_replicator.sanitize import sanitize

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecr_image_replicator.errors import Part, Side
    from ecr_image_replicator.registry.http.messages import HttpResponse

_LOGGER: Final = logging.getLogger(__name__)
#: Docker Hub's code at the limit; its limit against abuse is a 429 without a code.
_LIMIT_CODE: Final = "TOOMANYREQUESTS"
#: A 429 with a shorter Retry-After is retried, unless its window is longer: gateways send the same
#: headers for limits of seconds (draft-ietf-httpapi-ratelimit-headers).
_SHORT_SECONDS: Final = 60.0
#: How often a used-up limit is tried again in its window.
_ATTEMPTS_IN_WINDOW: Final = 12


class PullLimit(NamedTuple):
    """A registry's pull rate limit.

    Attributes
    ----------
    limit, remaining
        Pulls in the window, and those that are left; None when unknown.
    window_seconds
        None when unknown.
    source
        The address or account that it applies to, "" when unknown.
    """

    limit: int | None
    remaining: int | None
    window_seconds: int | None
    source: str


def parse_pull_limit(response: HttpResponse) -> PullLimit | None:
    """Parse the headers of a manifest's response; None when it has none of them."""
    limit, window_seconds = _parse_count(response.header("ratelimit-limit"))
    remaining, _ = _parse_count(response.header("ratelimit-remaining"))
    if limit is None and remaining is None:
        return None
    source = sanitize(response.header("docker-ratelimit-source"), 80)
    return PullLimit(limit, remaining, window_seconds, source)


def log_pull_limit(response: HttpResponse, registry: str) -> None:
    """Log the pull limit that a manifest's response has in its headers, if it has one."""
    found = parse_pull_limit(response)
    if found is not None:
        _LOGGER.info(
            "pull limit",
            extra={
                "registry": registry,
                "pulls_limit": found.limit,
                "pulls_remaining": found.remaining,
                "window_seconds": found.window_seconds,
                "counted_for": found.source,
            },
        )


def pull_limit_error(
    response: HttpResponse,
    operation: str,
    side: Side,
    registry: str,
    login_origin: Part | None,
    *,
    now: Callable[[], float] = time.time,
) -> ThrottledError | None:
    """Return the error for a pull limit that is used up, None for another response."""
    if response.status != 429:
        return None
    found = parse_pull_limit(response)
    is_hub = registry == DOCKER_HUB and error_code(response) == _LIMIT_CODE
    if not is_hub and (found is None or found.remaining != 0):
        return None
    after_seconds = parse_retry_after(response.headers, now=now)
    if not is_hub and _is_short(found, after_seconds):
        return None
    wait = f"wait {_describe_wait(found, after_seconds)}"
    hint: tuple[Part, ...] = (
        (f"{wait.capitalize()}, or use an account with a higher limit",)
        if login_origin
        else ("Set ", CREDENTIALS_SETTINGS[side], f" to raise the limit, or {wait}")
    )
    if registry == DOCKER_HUB:
        hint += ("; official images are also at public.ecr.aws/docker/library",)
    used: tuple[Part, ...] = (" with the credentials in ", login_origin) if login_origin else ()
    return ThrottledError(
        f"cannot {operation}: pull rate limit exceeded ({describe_response(response)})"
        f"{_describe_limit(found)}",
        *used,
        hint=(*hint, "."),
        side=side,
        status=429,
        code=error_code(response),
        retry_after_seconds=_next_attempt_seconds(found, after_seconds),
    )


def _is_short(found: PullLimit | None, after_seconds: float | None) -> bool:
    window_seconds = (found.window_seconds if found else None) or 0
    return after_seconds is not None and max(after_seconds, window_seconds) <= _SHORT_SECONDS


def _next_attempt_seconds(found: PullLimit | None, after_seconds: float | None) -> float | None:
    """Return when another pull may be allowed: pulls come back one by one within the window."""
    if after_seconds is None and found is not None and found.window_seconds:
        return found.window_seconds / _ATTEMPTS_IN_WINDOW
    return after_seconds


def _describe_limit(found: PullLimit | None) -> str:
    if found is None or found.limit is None:
        return ""
    window = f" per {_describe_window(found.window_seconds)}" if found.window_seconds else ""
    return f": {found.remaining or 0} of {found.limit} pulls{window} left"


def _describe_wait(found: PullLimit | None, after_seconds: float | None) -> str:
    if after_seconds is not None:
        return _describe_minutes(after_seconds)
    window_seconds = found.window_seconds if found else None
    return f"up to {_describe_window(window_seconds)}" if window_seconds else "some hours"


def _describe_minutes(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


def _describe_window(seconds: int) -> str:
    if seconds < 3600:
        return _describe_minutes(seconds)
    hours = seconds / 3600
    return f"{hours:g} hour" if hours == 1 else f"{hours:.3g} hours"


def _parse_count(header: str) -> tuple[int | None, int | None]:
    """Parse ``100;w=21600``."""
    count, _, window = header[:40].partition(";w=")
    return _parse_number(count), _parse_number(window)


def _parse_number(text: str) -> int | None:
    return int(text[:9]) if text.isascii() and text.isdecimal() else None
