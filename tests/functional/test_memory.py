"""Copies in a process with a limit on its address space."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

from benchmarks.memory import zeros

MEBIBYTE = 1024 * 1024
BLOB_BYTES = 512 * MEBIBYTE
PROGRAM = textwrap.dedent("""
    import resource, sys
    import boto3
    import app
    from ecr_image_replicator.deadline import Deadline
    from ecr_image_replicator.copy.progress import LoggedProgress
    from ecr_image_replicator.request.parsing import parse_request

    source, destination, size, max_growth = sys.argv[1:]
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    limit = int(status["VmSize"].split()[0]) * 1024 + int(max_growth)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    request = parse_request(
        {"SrcImage": f"{source}/zeros-{size}:latest", "DestImage": f"{destination}/copy:1"}
    )
    outcome = app.replicator().replicate(
        request, deadline=Deadline(3600), progress=LoggedProgress()
    )
    print(outcome.report.bytes_copied)
""")
ROOT = Path(__file__).parent.parent.parent


def copy(*, max_growth_bytes: int) -> subprocess.CompletedProcess[str]:
    with zeros([BLOB_BYTES]) as source, zeros(()) as destination:
        arguments = [source, destination, str(BLOB_BYTES), str(max_growth_bytes)]
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT / "handler"),
                "PLAIN_HTTP_REGISTRIES": "127.0.0.1",
                # as in the template; each malloc arena reserves 64 MiB of address space
                "MALLOC_ARENA_MAX": "2",
            },
            # thread stacks are address space too; this limit is the size of each
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_STACK, (MEBIBYTE, MEBIBYTE)),
            capture_output=True,
            text=True,
            check=False,
        )


def test_copying_a_512_mib_blob_needs_less_than_128_mib_of_address_space() -> None:
    finished = copy(max_growth_bytes=128 * MEBIBYTE)
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout.splitlines()[-1]) == BLOB_BYTES


def test_a_copy_fails_with_1_mib_of_address_space() -> None:
    finished = copy(max_growth_bytes=MEBIBYTE)
    assert finished.returncode != 0
