"""`examples/terraform`: parsed and evaluated, with their calls sent to the function."""

from __future__ import annotations

import json
import re
from typing import Any

import hcl2
from local.images import Index
from tests.examples.conftest import ROOT
from tests.examples.resolver import ACCOUNT, Stack
from tests.examples.simulated_cloud import SimulatedCloud
from tests.examples.test_cloudformation import EXPORTS

TERRAFORM = ROOT / "examples" / "terraform"
HOST = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
SOURCE = "public.ecr.aws/docker/library/nginx:1.27"
_CALL = re.compile(r"\$\{jsonencode\((.*)\)\}", re.DOTALL)


def load(example: str) -> dict[str, Any]:
    """Return an example's resources by type and the defaults of its variables."""
    document = hcl2.loads((TERRAFORM / example / "main.tf").read_text())
    resources = {
        kind.strip('"'): next(iter(named.values()))
        for block in document["resource"]
        for kind, named in block.items()
    }
    values = {
        f"var.{name.strip(chr(34))}": body.get("default", "").strip('"')
        for block in document["variable"]
        for name, body in block.items()
    }
    repository = resources["aws_ecr_repository"]["name"].strip('"')
    values["aws_ecr_repository.nginx.repository_url"] = f"{HOST}/{repository}"
    return {"resources": resources, "values": values}


def encoded(expression: str, values: dict[str, str]) -> Any:
    """Evaluate a jsonencode call with these values of its references."""
    found = _CALL.fullmatch(expression)
    assert found is not None, expression
    return evaluate(hcl2.loads(f"value = {found[1]}\n")["value"], values)


def evaluate(value: Any, values: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key.strip('"'): evaluate(each, values)
            for key, each in value.items()
            if not key.startswith("__")
        }
    if isinstance(value, list):
        return [evaluate(each, values) for each in value]
    assert isinstance(value, str)
    return re.sub(r"\$\{([a-z_.]+)\}", lambda name: values[name[1]], value).strip('"')


def test_the_image_of_the_stack_is_copied(cloud: SimulatedCloud, index: Index) -> None:
    cloud.push_image(SOURCE, index)
    example = load("stack")
    template = encoded(
        example["resources"]["aws_cloudformation_stack"]["template_body"], example["values"]
    )
    cloud.create_repository(f"{HOST}/mirror/nginx:1.27")
    stack = Stack(template, cloud, imports=EXPORTS)

    uri = stack.outputs()["ImageUri"]

    assert uri.startswith(f"{HOST}/mirror/nginx@sha256:")
    assert cloud.manifest(uri) == cloud.manifest(f"{HOST}/mirror/nginx:1.27")


def test_the_invocation_sends_the_properties_of_the_resource(
    cloud: SimulatedCloud, index: Index
) -> None:
    cloud.push_image(SOURCE, index)
    cloud.create_repository(f"{HOST}/mirror/nginx:1.27")
    example = load("invocation")
    resource = example["resources"]["aws_lambda_invocation"]
    properties = encoded(resource["input"], example["values"])
    assert resource["lifecycle_scope"] == '"CRUD"'

    response = cloud.deploy(properties)

    assert response["Status"] == "SUCCESS", response
    assert json.loads(json.dumps(response["Data"]))["ImageUri"].startswith(f"{HOST}/mirror/nginx@")
