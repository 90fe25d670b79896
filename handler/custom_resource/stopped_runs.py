"""Mirrors' runs that ended without a response: from their status change to the pending request.

AWS Step Functions Developer Guide, "Step Functions Execution Status Change". This module imports
only the standard library, and the runtime's own boto3 for such an event: the failure
responder uses it.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = re.compile(r"([0-9a-f]{32})-([A-Za-z0-9][A-Za-z0-9-]{0,39})")
_REASONS: Final = {
    "ABORTED": "the mirror's run was stopped",
    "FAILED": "the mirror's run failed",
    "TIMED_OUT": "the mirror's run timed out",
}
_MAX_REQUEST_BYTES: Final = 16 * 1024 * 1024


def is_status_change(record: Mapping[str, Any]) -> bool:
    """Return whether an event is about an execution of a state machine."""
    return record.get("source") == "aws.states"


def find_pending_request(record: Mapping[str, Any]) -> tuple[dict[str, Any], str, str] | None:
    """Return the request that waits for a response, the mirror's ID, and the reason.

    Returns
    -------
    tuple or None
        None when the run has responded, or is not a mirror's.

    Raises
    ------
    Exception
        S3 cannot be reached. Lambda runs the responder again.
    """
    detail = record.get("detail")
    if not isinstance(detail, dict) or detail.get("status") not in _REASONS:
        return None
    found = _NAME.fullmatch(str(detail.get("name", "")))
    bucket = os.environ.get("MIRROR_BUCKET", "")
    if found is None or not bucket:
        return None
    content = _read(bucket, f"mirrors/{found[1]}/{found[2]}/request.json")
    event = json.loads(content) if content is not None else {}
    if not event.get("ResponseURL"):
        return None
    reason = (
        f"{_REASONS[detail['status']]} before it responded. Deploy again: copied blobs are "
        f"reused. Execution: {str(detail.get('executionArn', ''))[:300]}"
    )
    return event, found[1], reason


def _read(bucket: str, key: str) -> bytes | None:
    """Read an object; None when it does not exist."""
    import boto3  # noqa: PLC0415 - for these events only

    client = boto3.client("s3")
    try:
        content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read(_MAX_REQUEST_BYTES)
    except client.exceptions.ClientError as error:
        # without s3:ListBucket, a missing object is denied: the mirror was deleted
        if error.response["Error"]["Code"] in {"NoSuchKey", "AccessDenied"}:
            return None
        raise
    return content
