"""Events with text that must not suppress log lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAM = r"""
import app
app.logger.structure_logs(append=False, logical_resource_id="Image\ud800", request_id="42")
app.logger.info("copied \ud800 é", extra={"tag": "\udfff"})
"""


def test_a_lone_surrogate_in_an_event_does_not_suppress_its_log_lines() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert finished.stderr == ""
    line = json.loads(finished.stdout)
    assert line["request_id"] == "42"
    assert line["logical_resource_id"] == "Image\ud800"
    assert line["message"] == "copied \ud800 é"
