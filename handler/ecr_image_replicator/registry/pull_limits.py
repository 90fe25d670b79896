"""Docker Hub's pull limits: what its headers say, and what to do at the end of them.

Docker Hub, "Usage and limits": ``ratelimit-limit: 100;w=21600``, the same of what remains, and
``docker-ratelimit-source``; a registry without limits sends none of them.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.errors import Side, ThrottledError
from ecr_image_replicator.model.references import DOCKER_HUB
from ecr_image_replicator.registry.error_responses import credentials_hint, error_code
from ecr_image_replicator.retries import parse_retry_after
from ecr_image_replicator.sanitize import sanitize

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecr_image_replicator.errors import Part
    from ecr_image_replicator.registry.http.messages import HttpResponse

_LOGGER: Final = logging.getLogger(__name__)
#: Docker Hub's code at the limit; its limit against abuse is a 429 without a code.
_LIMIT_CODE: Final = "TOOMANYREQUESTS"
#: How often a used-up limit is tried again in its window.
_ATTEMPTS_IN_WINDOW: Final = 12


@dataclass(frozen=True, slots=True)
class PullLimit:
    """What a registry says of its limit.

    Attributes
    ----------
    limit, remaining
        Pulls in the window, and those that are left; None where the registry does not say.
    window_seconds
        None where the registry does not say.
    source
        Whom it counts for: an address or an account, "" where the registry does not say.
    """

    limit: int | None
    remaining: int | None
    window_seconds: int | None
    source: str


def parse_pull_limit(answer: HttpResponse) -> PullLimit | None:
    """Read the headers of a manifest's answer; None when it has none of them."""
    limit, window_seconds = _parse_count(answer.header("ratelimit-limit"))
    remaining, _ = _parse_count(answer.header("ratelimit-remaining"))
    if limit is None and remaining is None:
        return None
    source = sanitize(answer.header("docker-ratelimit-source"), 80)
    return PullLimit(limit, remaining, window_seconds, source)


def log_pull_limit(answer: HttpResponse, registry: str) -> None:
    """Log what a manifest's answer says of the limit, if it does."""
    found = parse_pull_limit(answer)
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
    answer: HttpResponse,
    side: Side,
    registry: str,
    login_origin: Part,
    *,
    now: Callable[[], float] = time.time,
) -> ThrottledError | None:
    """Recognise a pull limit that is used up, which no wait of seconds outlasts."""
    if answer.status != 429:
        return None
    found = parse_pull_limit(answer)
    is_hub = registry == DOCKER_HUB and error_code(answer) == _LIMIT_CODE
    if not is_hub and (found is None or found.remaining != 0):
        return None
    after_seconds = parse_retry_after(answer.headers, now=now)
    hint = credentials_hint(side, login_origin)
    if registry == DOCKER_HUB:
        hint = *hint, "; official images are also at public.ecr.aws/docker/library"
    return ThrottledError(
        f"the {side} registry {registry} allows {_describe(found)}; "
        f"{_opening(found, after_seconds)}; ",
        *hint,
        side=side,
        status=429,
        code=error_code(answer),
        retry_after_seconds=_next_attempt_seconds(found, after_seconds),
    )


def _next_attempt_seconds(found: PullLimit | None, after_seconds: float | None) -> float | None:
    """Return when another pull may be allowed: pulls come back one by one within the window."""
    if after_seconds is None and found is not None and found.window_seconds:
        return found.window_seconds / _ATTEMPTS_IN_WINDOW
    return after_seconds


def _describe(found: PullLimit | None) -> str:
    if found is None or found.limit is None:
        return "no more pulls for now, without saying how many it does"
    window = f" in {_hours(found.window_seconds)}" if found.window_seconds else ""
    return f"{found.limit} pulls{window} and {found.remaining or 0} are left"


def _opening(found: PullLimit | None, after_seconds: float | None) -> str:
    if after_seconds is not None:
        return f"it opens again in {max(1, round(after_seconds / 60))} minutes"
    window_seconds = found.window_seconds if found else None
    within = _hours(window_seconds) if window_seconds else "some hours"
    return f"it opens again within {within}"


def _hours(seconds: int | None) -> str:
    hours = (seconds or 0) / 3600
    return f"{hours:g} hour" if hours == 1 else f"{hours:.2g} hours"


def _parse_count(header: str) -> tuple[int | None, int | None]:
    """Read ``100;w=21600``."""
    count, _, window = header[:40].partition(";w=")
    return _parse_number(count), _parse_number(window)


def _parse_number(text: str) -> int | None:
    return int(text[:9]) if text.isascii() and text.isdecimal() else None
