"""The response for a mirror."""

from __future__ import annotations

from custom_resource.mirror_responses import failure_of
from ecr_image_replicator.mirror.report import ChoiceSummary, MirrorReport
from ecr_image_replicator.mirror.results import ImageResult, ImageStatus
from ecr_image_replicator.mirror.state import Run
from ecr_image_replicator.mirror.steps import StoredRequest
from ecr_image_replicator.mirror.summary import RunSummary
from ecr_image_replicator.request.mirror import MirrorRequest


def test_the_reason_for_failed_images_is_a_list_of_sentences() -> None:
    error = "cannot pull a.example/app:1: image not found (404 Not Found). Check the tag."
    failed = ImageResult(
        "a.example/app:1", "b.example/app:1", ("1",), ImageStatus.FAILED, error=error
    )
    report = MirrorReport(ChoiceSummary(chosen=1), (failed,))
    summary = RunSummary(StoredRequest({}, 0, 0), report, MirrorRequest(()))

    reason = failure_of(Run("0" * 32, "first"), summary, "state")

    assert reason == (
        f"1 of 1 images failed, more than the 0 of MaxFailures: b.example/app:1: {error} "
        f"Report: s3://state/mirrors/{'0' * 32}/first/report.json"
    )
