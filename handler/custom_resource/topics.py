"""The rule for requests through SNS: a whole organization may publish to the topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecr_image_replicator.errors import NotAllowedError

if TYPE_CHECKING:
    from ecr_image_replicator.request.settings import Settings


def check_topic(settings: Settings) -> None:
    """Check that a request through SNS is served.

    Raises
    ------
    NotAllowedError
        Every destination is allowed.
    """
    if not settings.allowed.destinations:
        raise NotAllowedError(
            "requests through SNS are not allowed while the function's AllowedDestinations is "
            "empty",
            hint="Set AllowedDestinations when you deploy the function.",
        )
