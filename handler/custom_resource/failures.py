"""Errors as they are reported: with CloudFormation's property names, and without secrets."""

from __future__ import annotations

import logging
import traceback
from pathlib import PurePath
from typing import Any, Final

from ecr_image_replicator.errors import ReplicationError
from ecr_image_replicator.request.properties import property_name

_LOGGER: Final = logging.getLogger(__name__)


class DefectError(ReplicationError):
    """An error in this program: an exception that it does not expect."""


def render(error: ReplicationError) -> str:
    """Return the error's message with the names of the properties."""
    return error.render(property_name)


def with_log_stream(reason: str, context: Any) -> str:
    """Return a reason that ends with the name of the invocation's log stream."""
    stop = "" if reason.endswith((".", "?")) else "."
    return f"{reason}{stop} Log stream: {context.log_stream_name}"


def known_error(error: Exception) -> ReplicationError:
    """Return the error to report.

    An error of the program's own tree is returned as it is. Any other exception is logged as a
    defect and becomes a DefectError with the place only: messages of libraries may quote URLs and
    credentials.
    """
    if isinstance(error, ReplicationError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{PurePath(each.filename).name}:{each.lineno} {each.name}" for each in frames]
    kind = type(error).__name__
    _LOGGER.error("defect", extra={"kind": kind, "places": places})
    return DefectError(
        f"internal error: {kind} at {places[-1] if places else 'an unknown place'}",
        hint="Report it with this message and the log.",
    )


def as_function_error(error: Exception) -> ReplicationError:
    """Return the exception that a direct call raises.

    Lambda reports its class's name as `errorType` and its text as `errorMessage`.
    """
    known = known_error(error)
    text = render(known)
    raised = type(known).__new__(type(known), text)
    raised.__dict__.update(vars(known), message=(text,), hint=())
    return raised
