from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

_IMPORT = """
import gc, sys

class RecordingFinder:
    collecting = {}

    def find_spec(self, name, path, target=None):
        self.collecting[name] = gc.isenabled()

sys.meta_path.insert(0, RecordingFinder())
import app
seen = RecordingFinder.collecting
print(seen["ecr_image_replicator.replicate"], seen["crhelper"], seen["urllib3"])
print(gc.isenabled(), gc.get_freeze_count() > 1000)
"""


def test_garbage_collection_is_disabled_only_during_imports() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", _IMPORT],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.split() == ["False", "False", "False", "True", "True"]


_LOG = """
import json, sys
import app

class Context:
    aws_request_id = "id"
    log_stream_name = "stream"

    def get_remaining_time_in_millis(self):
        return 60_000

event = json.loads(sys.argv[1])
try:
    print(json.dumps(app.lambda_handler(event, Context())))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error), error.__suppress_context__]))
"""


def _handle(event: object) -> list[Any]:
    finished = subprocess.run(
        [sys.executable, "-c", _LOG, json.dumps(event)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Logging error" not in finished.stderr
    return [json.loads(line) for line in finished.stdout.splitlines()]


def test_a_lone_surrogate_in_an_event_does_not_suppress_log_lines() -> None:
    lines = _handle(
        {"RequestType": "Create", "StackId": "s\ud800", "ResourceProperties": {"\ud800": "x"}}
    )
    failed = [each for each in lines if each.get("message") == "failed"]
    assert [each["stack_id"] for each in failed] == ["s\ud800"]
    assert lines[-1]["Status"] == "FAILED"


def test_an_event_is_dispatched_by_its_keys() -> None:
    request: dict[str, Any] = {"RequestType": "Create", "ResourceProperties": {}}
    by_topic: dict[str, Any] = {
        "Records": [{"EventSource": "aws:sns", "Sns": {"Message": json.dumps({"SrcImage": "a"})}}]
    }
    for event in (request, {"ResponseURL": "http://placeholder"}, by_topic):
        assert _handle(event)[-1]["Status"] == "FAILED"
    others: list[Any] = [{}, {"SrcImage": "a"}, {"ResourceProperties": {}}, "text", None]
    for event in others:
        assert _handle(event)[-1][::2] == ["RequestError", True]
