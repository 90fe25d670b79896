"""The response to CloudFormation for a mirror, and the time limit of its run."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from custom_resource.continuation import service_timeout_seconds
from custom_resource.mirror_ids import mirror_id
from custom_resource.response import CustomResourceResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecr_image_replicator.mirror.state import Run
    from ecr_image_replicator.mirror.summary import RunSummary
    from ecr_image_replicator.request.mirror import MirrorRequest

#: What is left of ServiceTimeout for the summary and the response.
_SUMMARY_SECONDS: Final = 120.0
#: Of a run that CloudFormation does not wait for; the state machine's own limit is a day.
RUN_SECONDS: Final = 23 * 3600.0


def response_body(
    event: Mapping[str, Any], status: str, reason: str, data: Mapping[str, str]
) -> dict[str, Any]:
    """Return the body of a response.

    A reason is for failures only.
    """
    own = str(event.get("PhysicalResourceId") or "")
    is_deletion = event["RequestType"] == "Delete"
    return CustomResourceResponse(
        status=status,
        # also of a failed Create, so that its Delete finds the schedule and the state
        physical_resource_id=own if is_deletion and own else mirror_id(event),
        stack_id=event["StackId"],
        request_id=event["RequestId"],
        logical_resource_id=event["LogicalResourceId"],
        reason=reason if status == "FAILED" else "",
        data=data,
    ).body()


def scheduled_name(at: object, now_seconds: float) -> str:
    """Name a run by the time that its schedule gave: a duplicate has the same name."""
    text = re.sub(r"[^0-9TZ]", "", str(at or ""))[:20]
    if not text:
        text = datetime.fromtimestamp(now_seconds, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"scheduled-{text}"


def failure_of(run: Run, summary: RunSummary, bucket: str) -> str:
    """Return why the mirror failed; "" when it did not."""
    report = f"Report: s3://{bucket}/{run.report}"
    if summary.error:
        return f"{summary.error.removesuffix('.')}. {report}"
    values = summary.report.values()
    if summary.is_exceeded:
        allowed = summary.mirror.max_failures if summary.mirror else 0
        return (
            f"{values['Failed']} of {values['Chosen']} images failed, more than the "
            f"{allowed} of MaxFailures: {values['Failures'].removesuffix('.')}. {report}"
        )
    if summary.report.left and summary.request.response_url:
        done = int(values["Copied"]) + int(values["Unchanged"])
        return (
            f"timed out, {done} of {values['Chosen']} copied. Increase ServiceTimeout, or set "
            f"CompleteWhen: Started. {report}"
        )
    return ""


def run_seconds(mirror: MirrorRequest, properties: Mapping[str, Any]) -> float:
    """Return how long a run may take."""
    if mirror.completes_when_started:
        return RUN_SECONDS
    seconds = service_timeout_seconds(properties)
    return max(seconds - _SUMMARY_SECONDS, seconds / 2)
