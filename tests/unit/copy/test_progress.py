from __future__ import annotations

import logging

import pytest
from tests.unit.builders import FakeClock, blob

from ecr_image_replicator.copy.ports import BlobOutcome
from ecr_image_replicator.copy.progress import (
    Counts,
    LoggedProgress,
    ProgressCounter,
    ProgressTotals,
)
from ecr_image_replicator.errors import DeniedError, Side, TransientError

ONE, TWO = blob(b"0123456789"), blob(b"01234")


def test_a_line_is_logged_at_most_once_per_interval(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = FakeClock()
    progress = LoggedProgress(5, clock=clock)
    progress.plan([ONE, TWO])
    progress.start(ONE)
    for seconds in (4, 1, 4, 1):
        clock.now += seconds
        progress.advance(ONE, 2)
    lines = [vars(record) for record in caplog.records]
    assert [line["bytes_done"] for line in lines] == [4, 8]
    assert [line["bytes_total"] for line in lines] == [15, 15]
    assert [line["bytes_per_second"] for line in lines] == [1, 1]


def test_the_summary_has_the_progress_and_running_blobs() -> None:
    clock = FakeClock()
    progress = LoggedProgress(clock=clock)
    progress.plan([ONE, TWO])
    progress.finish(TWO, BlobOutcome.SKIPPED)
    progress.start(ONE)
    clock.now += 2
    progress.advance(ONE, 4)
    assert progress.summary() == "1 of 2 blobs copied (4 of 10 B)"
    progress.finish(ONE, BlobOutcome.COPIED)
    assert progress.summary() == "2 of 2 blobs copied (10 of 10 B)"


def test_a_restarted_blob_counts_from_its_first_byte() -> None:
    progress = LoggedProgress(clock=FakeClock())
    progress.plan([ONE])
    progress.start(ONE)
    progress.advance(ONE, 9)
    progress.start(ONE)
    assert progress.summary() == "0 of 1 blobs copied (0 of 10 B)"


def test_copied_blobs_are_counted() -> None:
    progress = LoggedProgress()
    progress.plan([ONE, TWO])
    for count in (4, 10):
        progress.start(ONE)
        progress.advance(ONE, count)
    progress.finish(ONE, BlobOutcome.COPIED)
    progress.finish(TWO, BlobOutcome.SKIPPED)
    progress.finish(blob(b"mounted"), BlobOutcome.MOUNTED)
    progress.retry(TransientError("connection reset"))
    progress.retry(TransientError("too many", is_throttle=True))

    assert progress.counts() == Counts(14, 1, 1, 1, retries=2, throttles=1)


@pytest.mark.parametrize(
    ("done", "total", "share"),
    [
        (300 * 1024, 2 * 1024**2, "0.3 of 2.0 MiB"),
        (1_288_490_188, 4 * 1024**3, "1.2 of 4.0 GiB"),
        (0, 0, "0 of 0 B"),
    ],
)
def test_both_sizes_have_the_unit_of_the_total(done: int, total: int, share: str) -> None:
    assert str(ProgressTotals(done, total, 3, 7, 1.0)) == f"3 of 7 blobs copied ({share})"


def test_the_summary_without_a_plan_has_no_total() -> None:
    assert LoggedProgress().summary() == "0 blobs copied"


def test_a_blob_of_several_plans_is_counted_once() -> None:
    progress = ProgressCounter()
    for outcome in (BlobOutcome.COPIED, BlobOutcome.SKIPPED):
        progress.plan([ONE])
        progress.finish(ONE, outcome)
    assert progress.counts() == Counts(blobs_copied=1)
    assert progress.totals().total_blobs == 1


def test_the_line_of_a_stage_has_its_seconds_and_bytes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = FakeClock()
    progress = LoggedProgress(1000, clock=clock)
    with progress.stage("read"):
        clock.now += 2
    with progress.stage("copy"):
        progress.advance(ONE, 7)
        clock.now += 3.5

    lines = [vars(record) for record in caplog.records]
    assert [(each["message"], each["stage"]) for each in lines] == [
        ("stage", "read"),
        ("stage", "copy"),
    ]
    assert [(each["stage_seconds"], each["stage_bytes"]) for each in lines] == [(2, 0), (3.5, 7)]


def test_a_failed_stage_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = LoggedProgress()
    with pytest.raises(DeniedError), progress.stage("state"):
        raise DeniedError("no", side=Side.SOURCE)
    assert [vars(record)["stage"] for record in caplog.records] == ["state"]


def test_the_progress_of_an_interrupted_copy_counts_finished_blobs() -> None:
    progress = LoggedProgress(clock=FakeClock())
    progress.plan([ONE, TWO])
    for each in (ONE, TWO):
        progress.start(each)
        progress.advance(each, 5)
    progress.finish(TWO, BlobOutcome.COPIED)
    progress.make(ONE, TWO)
    snapshot = progress.snapshot()
    assert (snapshot.copied, snapshot.copied_bytes, snapshot.lost_bytes) == (1, 5, 5)
    assert snapshot.largest_left == ONE
    assert snapshot.made == {ONE.digest: TWO}
