from __future__ import annotations

import threading

from tests.unit.builders import blob
from tests.unit.thread_switches import switching_threads

from ecr_image_replicator.copy.ports import BlobOutcome
from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.mirror.recorder import ProgressRecorder

THREADS, BLOBS_PER_THREAD = 4, 100
BLOB = blob(b"layer")


def test_all_concurrently_copied_blobs_are_counted() -> None:
    recorder = ProgressRecorder(LoggedProgress())

    def finish_all() -> None:
        for _ in range(BLOBS_PER_THREAD):
            recorder.finish(BLOB, BlobOutcome.COPIED)

    with switching_threads("finish"):
        threads = [threading.Thread(target=finish_all) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    count = THREADS * BLOBS_PER_THREAD
    assert (recorder.blobs_copied, recorder.bytes_copied) == (count, count * BLOB.size_bytes)


def test_blobs_that_were_not_copied_are_not_counted() -> None:
    recorder = ProgressRecorder(LoggedProgress())
    for outcome in BlobOutcome:
        recorder.finish(BLOB, outcome)
    assert (recorder.blobs_copied, recorder.bytes_copied) == (1, BLOB.size_bytes)
