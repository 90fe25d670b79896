"""Complete what cyclonedx-py writes: standard input to standard output.

The project's version is read from the engine, as `pyproject.toml` has none of its own. The tool's
links to itself are left out, as they differ between its versions.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

VERSION = Path(__file__).parent.parent / "handler" / "ecr_image_replicator" / "version.py"


def main() -> None:
    """Read the bill, complete it and write it."""
    bill = json.load(sys.stdin)
    metadata = bill["metadata"]
    for tool in metadata["tools"]["components"]:
        tool.pop("externalReferences", None)
    component = {**metadata["component"], "version": runpy.run_path(str(VERSION))["__version__"]}
    metadata["component"] = dict(sorted(component.items()))
    print(json.dumps(bill, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
