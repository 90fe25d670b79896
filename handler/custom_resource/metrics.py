"""CloudWatch metrics of an invocation, in its log.

CloudWatch User Guide, "Specification: Embedded metric format". The line that carries the metrics is
also a log line with the message `metrics`. docs/operations.md explains each metric.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from ecr_image_replicator.copy.progress import Counts

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMESPACE: Final = "EcrImageReplicator"


@dataclass(frozen=True, slots=True)
class InvocationMetrics:
    """The metrics of one invocation.

    Attributes
    ----------
    status
        SUCCESS, FAILED, or CONTINUED when another invocation responds.
    seconds
        The invocation's duration.
    is_changed
        Whether anything was pushed.
    cause
        The error's class, without "Error".
    counts
        Bytes, blobs and retries.
    """

    status: str
    seconds: float
    is_changed: bool = False
    cause: str = ""
    counts: Counts = field(default_factory=Counts)


def publish(measured: InvocationMetrics, *, request: Mapping[str, Any]) -> None:
    """Print the metrics.

    Parameters
    ----------
    measured
        The invocation's values. The dimension is `service`, the function's name; failures are
        counted again with the dimension `cause`.
    request
        Fields that identify the request in the log.
    """
    is_success, is_failure = measured.status == "SUCCESS", measured.status == "FAILED"
    counts = measured.counts
    values = {
        "Copies": (MetricUnit.Count, is_success and measured.is_changed),
        "Unchanged": (MetricUnit.Count, is_success and not measured.is_changed),
        "Continuations": (MetricUnit.Count, measured.status == "CONTINUED"),
        "BytesMoved": (MetricUnit.Bytes, counts.bytes_moved),
        "BlobsCopied": (MetricUnit.Count, counts.blobs_copied),
        "BlobsSkipped": (MetricUnit.Count, counts.blobs_skipped + counts.blobs_mounted),
        "Retries": (MetricUnit.Count, counts.retries),
        "Throttles": (MetricUnit.Count, counts.throttles),
        "Seconds": (MetricUnit.Seconds, round(measured.seconds, 3)),
    }
    service = os.environ.get("POWERTOOLS_SERVICE_NAME", "ecr-image-replicator")
    metrics = Metrics(namespace=NAMESPACE, service=service)
    for name, (unit, value) in values.items():
        metrics.add_metric(name, unit, value=float(value))
    _flush(metrics, {"message": "metrics", **request})
    if is_failure:
        metrics.add_metric("Failures", MetricUnit.Count, value=1)
        metrics.add_dimensions(service=service, cause=measured.cause)
        _flush(metrics, {"message": "failure metrics", **request})


def _flush(metrics: Metrics, metadata: Mapping[str, Any]) -> None:
    for name, value in metadata.items():
        metrics.add_metadata(name, value)
    metrics.flush_metrics()
