from __future__ import annotations

import os
import subprocess
import sys

_IMPORT = """
import gc
collections = []
gc.callbacks.append(lambda phase, _: collections.append(phase))
import app
print(len(collections), gc.isenabled(), gc.get_freeze_count() > 1000)
"""


def test_the_function_is_imported_without_a_collection_of_garbage_and_then_collects() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", _IMPORT],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.split() == ["0", "True", "True"]
