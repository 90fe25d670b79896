"""Direct calls: replication without CloudFormation, for example from Terraform or a pipeline."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from custom_resource.deadlines import reserve_seconds
from custom_resource.failures import as_function_error
from custom_resource.metrics import InvocationMetrics
from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import RequestError, Setting
from ecr_image_replicator.request.parsing import OnDelete, parse_request
from ecr_image_replicator.request.properties import find_value, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ecr_image_replicator.replicate import Replicator
    from ecr_image_replicator.request.parsing import ReplicationRequest

_LOGGER: Final = logging.getLogger(__name__)
#: What Terraform's `aws_lambda_invocation` adds to the input with `lifecycle_scope = "CRUD"`.
TERRAFORM_KEY: Final = "tf"


def call(
    event: Mapping[str, Any],
    context: Any,
    *,
    replicator: Callable[[], Replicator],
    record: Callable[[InvocationMetrics], None],
) -> dict[str, str]:
    """Replicate an image and return its values, those that Fn::GetAtt reads in a stack.

    Parameters
    ----------
    event
        The resource's properties, or an object that has them under ``ResourceProperties``.
    context
        Lambda's.
    replicator
        Returns the engine, which is made on first use.
    record
        Takes the metrics.

    Raises
    ------
    ReplicationError
        It failed. Lambda reports the class's name and the message as a function error.
    """
    if _is_terraform_delete(event):
        _LOGGER.info("deleted; the image and its tags are retained")
        return {}
    started_at = time.monotonic()
    progress = LoggedProgress()
    status, values, cause, is_dry_run = "FAILED", {}, "", False
    try:
        request = _parse(event)
        is_dry_run = request.dry_run
        engine = replicator()
        progress = LoggedProgress(engine.settings.progress_interval_seconds)
        remaining_seconds = context.get_remaining_time_in_millis() / 1000
        deadline = Deadline(remaining_seconds - reserve_seconds(remaining_seconds))
        _LOGGER.info(
            "started",
            extra={"source": str(request.source), "destination": str(request.destination)},
        )
        outcome = engine.replicate(request, deadline=deadline, progress=progress)
        status, values = "SUCCESS", outcome.attributes()
        _LOGGER.info("done", extra={"result": values})
    except Exception as error:  # noqa: BLE001 - other messages may quote secrets
        raised = as_function_error(error)
        cause = raised.kind
        _LOGGER.error("failed", extra={"reason": str(raised)})
        raise raised from None
    finally:
        if status == "FAILED" or not is_dry_run:
            record(
                InvocationMetrics(
                    status,
                    time.monotonic() - started_at,
                    is_changed=values.get("Changed") == "true",
                    cause=cause,
                    counts=progress.counts(),
                )
            )
    return values


def _parse(event: Mapping[str, Any]) -> ReplicationRequest:
    properties = event.get("ResourceProperties", event)
    if not isinstance(properties, dict):
        raise RequestError("invalid ResourceProperties: it is not a map")
    request = parse_request(
        {name: value for name, value in properties.items() if name != TERRAFORM_KEY}
    )
    on_delete = str(find_value(properties, Setting.ON_DELETE) or "").strip()
    if on_delete.lower() == OnDelete.UNTAG.value.lower():
        raise invalid(
            Setting.ON_DELETE,
            f"{OnDelete.UNTAG.value} needs a physical resource ID, which a direct call lacks",
        )
    return request


def _is_terraform_delete(event: Mapping[str, Any]) -> bool:
    terraform = event.get(TERRAFORM_KEY)
    return isinstance(terraform, dict) and terraform.get("action") == "delete"
