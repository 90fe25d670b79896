"""The layer has botocore's models and endpoints of the services that the function calls."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import botocore
from botocore.regions import EndpointResolver

from ecr_image_replicator.aws.operations import Operation

TRIM = runpy.run_path(str(Path(__file__).parents[3] / "layers" / "dependencies" / "trim.py"))
DATA = Path(botocore.__file__).parent / "data"


def test_the_layer_has_every_service_that_an_operation_calls() -> None:
    assert {each.service for each in Operation} <= TRIM["SERVICES"]


def test_the_layer_has_only_the_endpoints_of_these_services() -> None:
    full = (DATA / "endpoints.json").read_text()
    models = [next((DATA / name).glob("*/service-2.json.gz")) for name in TRIM["SERVICES"]]
    names = {TRIM["endpoint_name"](model) for model in models}

    trimmed = TRIM["without_services"](full, kept=names)

    assert _endpoints(trimmed, names) == _endpoints(full, names)
    services = [partition["services"].keys() for partition in json.loads(trimmed)["partitions"]]
    assert set().union(*services) == names
    assert len(trimmed) < len(full) / 10


def _endpoints(text: str, names: set[str]) -> dict[tuple[str, str], Any]:
    """Return the endpoint of each service in each region of each partition."""
    document = json.loads(text)
    resolver = EndpointResolver(document)
    return {
        (name, region): resolver.construct_endpoint(name, region, partition["partition"])
        for partition in document["partitions"]
        for region in partition["regions"]
        for name in names
    }
