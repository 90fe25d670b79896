"""What an invocation is counted as: CloudWatch metrics, in a line of the log.

CloudWatch user guide, "Specification: Embedded metric format". The line that carries them is a log
line like the others too, with the message `measured`. docs/operations.md explains each metric.
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
    """One invocation.

    Attributes
    ----------
    status
        SUCCESS, FAILED, or CONTINUED where another invocation answers.
    seconds
        That the invocation has worked.
    is_changed
        Whether a success has pushed anything.
    cause
        Of a failure, one of few: the error's kind.
    counts
        What was done.
    """

    status: str
    seconds: float
    is_changed: bool = False
    cause: str = ""
    counts: Counts = field(default_factory=Counts)


def publish(measures: InvocationMetrics, named: Mapping[str, Any]) -> None:
    """Print the metrics; `named` says which request they are of, for whoever reads the log.

    The dimension of all of them is `service`, the name that the function was given. Failures are
    counted once more for each `cause`.
    """
    is_success, is_failure = measures.status == "SUCCESS", measures.status == "FAILED"
    counts = measures.counts
    values = {
        "Copies": (MetricUnit.Count, is_success and measures.is_changed),
        "Unchanged": (MetricUnit.Count, is_success and not measures.is_changed),
        "Continuations": (MetricUnit.Count, measures.status == "CONTINUED"),
        "BytesMoved": (MetricUnit.Bytes, counts.bytes_moved),
        "BlobsCopied": (MetricUnit.Count, counts.blobs_copied),
        "BlobsSkipped": (MetricUnit.Count, counts.blobs_skipped + counts.blobs_mounted),
        "Retries": (MetricUnit.Count, counts.retries),
        "Throttles": (MetricUnit.Count, counts.throttles),
        "Seconds": (MetricUnit.Seconds, round(measures.seconds, 3)),
    }
    service = os.environ.get("POWERTOOLS_SERVICE_NAME", "ecr-image-replicator")
    metrics = Metrics(namespace=NAMESPACE, service=service)
    for name, (unit, value) in values.items():
        metrics.add_metric(name, unit, value=float(value))
    _flush(metrics, {"message": "measured", **named})
    if is_failure:
        metrics.add_metric("Failures", MetricUnit.Count, value=1)
        metrics.add_dimensions(service=service, cause=measures.cause)
        _flush(metrics, {"message": "measured by cause", **named})


def _flush(metrics: Metrics, named: Mapping[str, Any]) -> None:
    for name, value in named.items():
        metrics.add_metadata(name, value)
    metrics.flush_metrics()
