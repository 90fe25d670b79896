"""Queries on templates that the CDK synthesizes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.examples.resolver import Stack


def find(stack: Stack, prefix: str) -> str:
    return name_of({"Resources": stack.resources}, prefix)


def name_of(template: dict[str, Any], construct_id: str) -> str:
    """Return the logical ID of a construct, which ends in a hash."""
    pattern = re.compile(f"{construct_id}[0-9A-F]{{8}}")
    (name,) = (each for each in template["Resources"] if pattern.fullmatch(each))
    assert isinstance(name, str)
    return name


def statements(template: dict[str, Any], role: str) -> Iterator[dict[str, Any]]:
    """Return the statements of the policies that are attached to a role."""
    pattern = re.compile(f"{role}[0-9A-F]{{8}}")
    for resource in template["Resources"].values():
        roles = resource.get("Properties", {}).get("Roles", [])
        if any(pattern.fullmatch(each["Ref"]) for each in roles):
            yield from resource["Properties"]["PolicyDocument"]["Statement"]


def actions(template: dict[str, Any], role: str) -> set[str]:
    return {each for one in statements(template, role) for each in as_list(one["Action"])}


def functions(template: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function"
        and resource["Properties"].get("Handler") == "app.lambda_handler"
    ]


def is_replicator(resource: dict[str, Any]) -> bool:
    properties = resource.get("Properties", {})
    return "Handler" in properties and bool(properties["Handler"] == "app.lambda_handler")


def machine_of(library: Path) -> int:
    """Return the machine type of a shared library: e_machine of its ELF header."""
    return int.from_bytes(library.read_bytes()[18:20], "little")


def memory_sizes(template: dict[str, Any]) -> list[int]:
    return sorted(each["MemorySize"] for each in functions(template))


def files(directory: Path) -> set[Path]:
    return {path.relative_to(directory) for path in directory.rglob("*") if path.is_file()}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
