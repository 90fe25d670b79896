"""The engine from a shell: ``python -m replicator SOURCE DESTINATION``; see `shell`."""

from __future__ import annotations

import os
import sys

from replicator.shell.command import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], os.environ))
