"""Copies in a process that may not grow."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

from benchmarks.memory import zeros

MEBIBYTE = 1024 * 1024
LARGEST_BYTES = 512 * MEBIBYTE
PROGRAM = textwrap.dedent("""
    import resource, sys
    import boto3
    import app
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.copy.progress import LoggedProgress
    from ecr_image_replicator.request.parsing import parse_request

    source, destination, size, most = sys.argv[1:]
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    limit = int(status["VmSize"].split()[0]) * 1024 + int(most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    request = parse_request(
        {"SrcImage": f"{source}/zeros-{size}:latest", "DestImage": f"{destination}/copy:1"}
    )
    outcome = app.replicator().replicate(
        request, deadline=Deadline(120), progress=LoggedProgress()
    )
    print(outcome.report.bytes_copied)
""")
ROOT = Path(__file__).parent.parent.parent


def copy(*, most_bytes: int) -> subprocess.CompletedProcess[str]:
    with zeros([LARGEST_BYTES]) as source, zeros(()) as destination:
        arguments = [source, destination, str(LARGEST_BYTES), str(most_bytes)]
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT / "handler"),
                "PLAIN_HTTP_REGISTRIES": "127.0.0.1",
                # as in the template; an arena takes 64 MiB of addresses
                "MALLOC_ARENA_MAX": "2",
            },
            # stacks are addresses too, and a thread's is as large as the process may have
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_STACK, (MEBIBYTE, MEBIBYTE)),
            capture_output=True,
            text=True,
            check=False,
        )


def test_the_largest_copy_takes_less_than_128_mebibytes_of_addresses() -> None:
    finished = copy(most_bytes=128 * MEBIBYTE)
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout.splitlines()[-1]) == LARGEST_BYTES


def test_the_limit_is_one() -> None:
    finished = copy(most_bytes=MEBIBYTE)
    assert finished.returncode != 0
