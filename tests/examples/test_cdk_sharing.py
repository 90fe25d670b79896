"""The stacks of a stage and environment share one function of `examples/cdk`'s construct."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.examples.cdk_templates import functions
from tests.examples.conftest import Synthesis


def stacks(synthesis: Synthesis, stage: str) -> dict[str, dict[str, Any]]:
    """The manifests of a stage's stacks, by the name of the stack."""
    manifest = synthesis.read(f"assembly-{stage}/manifest.json")
    return {
        each["properties"].get("stackName", name): {"id": name, **each}
        for name, each in manifest["artifacts"].items()
        if each["type"] == "aws:cloudformation:stack"
    }


def template(synthesis: Synthesis, stage: str, stack: str) -> dict[str, Any]:
    file = stacks(synthesis, stage)[stack]["properties"]["templateFile"]
    return synthesis.read(f"assembly-{stage}/{file}")


def of_type(template: dict[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    return (each for each in template["Resources"].values() if each["Type"] == kind)


def service_tokens(template: dict[str, Any]) -> list[Any]:
    return [each["Properties"]["ServiceToken"] for each in of_type(template, "Custom::ECRImage")]


@pytest.mark.parametrize(
    ("stage", "hosts"),
    [
        (
            "Agnostic",
            {
                "Agnostic-Later-EcrImageReplicator",
                "Agnostic-Later-EcrImageReplicator-123456789012-eu-west-1",
                "Agnostic-Later-EcrImageReplicator-123456789012-us-east-1",
            },
        ),
        ("Named", {"Named-Images"}),
        ("Alone", {"Alone-First-EcrImageReplicator", "Alone-First"}),
    ],
)
def test_each_environment_of_a_stage_has_one_function(
    synthesis: Synthesis, stage: str, hosts: set[str]
) -> None:
    counts = {
        name: len(functions(template(synthesis, stage, name))) for name in stacks(synthesis, stage)
    }
    assert {name: count for name, count in counts.items() if count} == dict.fromkeys(hosts, 1)


def test_every_stack_uses_the_function_of_its_environment(synthesis: Synthesis) -> None:
    for name in ("Later", "Earlier", "User"):
        tokens = service_tokens(template(synthesis, "Agnostic", f"Agnostic-{name}"))
        assert tokens
        for token in tokens:
            export = token["Fn::ImportValue"]
            assert export.startswith("Agnostic-Later-EcrImageReplicator:")
    for region in ("eu-west-1", "us-east-1"):
        (token,) = service_tokens(template(synthesis, "Agnostic", f"Agnostic-Regional-{region}"))
        assert f"-{region}:" in token["Fn::ImportValue"]


def test_the_shared_stack_is_deployed_first_without_dependencies(synthesis: Synthesis) -> None:
    found = stacks(synthesis, "Agnostic")
    ids = {each["id"]: name for name, each in found.items()}
    dependencies = {
        name: {ids[each] for each in stack.get("dependencies", ()) if each in ids}
        for name, stack in found.items()
    }
    shared = "Agnostic-Later-EcrImageReplicator"
    assert dependencies[shared] == set()
    assert dependencies["Agnostic-Earlier"] == {shared}
    assert dependencies["Agnostic-Later"] == {shared, "Agnostic-Earlier"}
    assert dependencies["Agnostic-User"] == {shared, "Agnostic-Earlier"}


def test_permissions_are_a_policy_of_the_deployments_stack(synthesis: Synthesis) -> None:
    names = set()
    for stack in ("Later", "Earlier", "User"):
        resources = template(synthesis, "Agnostic", f"Agnostic-{stack}")["Resources"]
        ((policy_id, policy),) = (
            (key, each) for key, each in resources.items() if each["Type"] == "AWS::IAM::Policy"
        )
        (role,) = policy["Properties"]["Roles"]
        assert role["Fn::ImportValue"].startswith("Agnostic-Later-EcrImageReplicator:")
        names.add(policy["Properties"]["PolicyName"])
        for each in resources.values():
            if each["Type"] == "Custom::ECRImage":
                assert policy_id in each["DependsOn"]
    # a role keeps one policy of a name
    assert len(names) == 3


def test_a_nested_stack_uses_the_shared_function(synthesis: Synthesis) -> None:
    (file,) = (synthesis.directory / "assembly-Agnostic").glob("*Nested*.nested.template.json")
    nested = json.loads(file.read_text())

    assert not functions(nested)
    assert list(of_type(nested, "AWS::IAM::Policy"))
    assert service_tokens(nested)


def test_a_function_that_is_not_shared_is_in_the_deployments_stack(synthesis: Synthesis) -> None:
    tokens = service_tokens(template(synthesis, "Alone", "Alone-First"))
    assert sorted(next(iter(each)) for each in tokens) == ["Fn::GetAtt", "Fn::ImportValue"]
