"""``python -m benchmarks.hotpath SOURCE DESTINATION BYTES ...``: copy zeros on one stream."""

from __future__ import annotations

import sys

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings


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
