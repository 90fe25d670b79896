"""`examples/terraform`: parsed, and what they send to the function answered by it."""

from __future__ import annotations

import json
import re
from typing import Any

import hcl2
from local.images import Index
from tests.examples.conftest import ROOT
from tests.examples.resolver import ACCOUNT, Stack
from tests.examples.test_cloudformation import EXPORTS
from tests.examples.world import World

TERRAFORM = ROOT / "examples" / "terraform"
HOST = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
SOURCE = "public.ecr.aws/docker/library/nginx:1.27"
_CALL = re.compile(r"\$\{jsonencode\((.*)\)\}", re.DOTALL)


def load(example: str) -> dict[str, Any]:
    """Parse an example: its resources by type, and the defaults of its variables."""
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
    """Evaluate a call of jsonencode with the values of the references in it."""
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


def test_the_stack_s_image_is_copied(world: World, index: Index) -> None:
    world.provide(SOURCE, index)
    example = load("stack")
    template = encoded(
        example["resources"]["aws_cloudformation_stack"]["template_body"], example["values"]
    )
    world.make_repository(f"{HOST}/mirror/nginx:1.27")
    stack = Stack(template, world, imports=EXPORTS)

    uri = stack.outputs()["ImageUri"]

    assert uri.startswith(f"{HOST}/mirror/nginx@sha256:")
    assert world.manifest(uri) == world.manifest(f"{HOST}/mirror/nginx:1.27")


def test_the_invocation_sends_the_properties_of_the_resource(world: World, index: Index) -> None:
    world.provide(SOURCE, index)
    world.make_repository(f"{HOST}/mirror/nginx:1.27")
    example = load("invocation")
    resource = example["resources"]["aws_lambda_invocation"]
    properties = encoded(resource["input"], example["values"])
    assert resource["lifecycle_scope"] == '"CRUD"'

    answer = world.deploy(properties)

    assert answer["Status"] == "SUCCESS", answer
    assert json.loads(json.dumps(answer["Data"]))["ImageUri"].startswith(f"{HOST}/mirror/nginx@")
