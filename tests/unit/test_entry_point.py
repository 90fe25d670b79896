from __future__ import annotations

import os
import subprocess
import sys

_IMPORT = """
import gc, sys

class RecordingFinder:
    collecting = {}

    def find_spec(self, name, path, target=None):
        self.collecting[name] = gc.isenabled()

sys.meta_path.insert(0, RecordingFinder())
import app
seen = RecordingFinder.collecting
print(seen["ecr_image_replicator.replicate"], seen["crhelper"], seen["requests"])
print(gc.isenabled(), gc.get_freeze_count() > 1000)
"""


def test_the_function_is_imported_without_collecting_garbage_and_then_collects() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", _IMPORT],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.split() == ["False", "False", "False", "True", "True"]
