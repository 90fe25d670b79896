"""The command line: ``python -m ecr_image_replicator`` and the console script; see `cli`."""

from __future__ import annotations

import gc
import os
import signal
import sys


def main() -> int:
    """Run the command line and return its exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # until there is something to clean up, Ctrl-C ends the process without a traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # imported objects live until the end: do not scan them again and again, nor at the end
    gc.set_threshold(100_000)
    from ecr_image_replicator.cli.command import run  # noqa: PLC0415 - after that

    try:
        return run(sys.argv[1:], os.environ)
    finally:
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
