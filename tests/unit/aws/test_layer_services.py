"""The layer keeps botocore's models of the services that the function calls."""

from __future__ import annotations

import runpy
from pathlib import Path

from ecr_image_replicator.aws.operations import Operation

TRIM = Path(__file__).parents[3] / "layers" / "dependencies" / "trim.py"


def test_the_layer_keeps_every_service_that_an_operation_calls() -> None:
    assert {each.service for each in Operation} <= runpy.run_path(str(TRIM))["SERVICES"]
