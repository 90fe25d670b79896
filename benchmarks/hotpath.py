"""``python -m benchmarks.hotpath SOURCE DESTINATION BYTES ...``: copy zeros on one stream."""

from __future__ import annotations

import sys

from replicator.deadline import Deadline
from replicator.progress import LoggedProgress
from replicator.replication import Replicator
from replicator.request import parse_request
from replicator.settings import Settings


def main(arguments: list[str]) -> None:
    """Copy one image after the other."""
    source, destination, *sizes = arguments
    replicator = Replicator(Settings(streams=1, plain_http=(source, destination)))
    for size in sizes:
        names = {
            "SrcImage": f"{source}/zeros-{size}:latest",
            "DestImage": f"{destination}/zeros-{size}:latest",
        }
        request = parse_request(names)
        replicator.replicate(request, deadline=Deadline(600), progress=LoggedProgress())


if __name__ == "__main__":
    main(sys.argv[1:])
