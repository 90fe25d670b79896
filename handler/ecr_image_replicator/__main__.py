"""The engine from a shell: ``python -m ecr_image_replicator SOURCE DESTINATION``; see `shell`."""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # while there is nothing to clean up, Ctrl-C just ends the process, with no traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from ecr_image_replicator.cli.command import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], os.environ))
