"""The definition of mirrors' state machine, as a graph and by the schema of its language."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint

_PATH = Path(__file__).parents[2] / "statemachine" / "mirror.asl.json"
DEFINITION: dict[str, Any] = json.loads(_PATH.read_text())
_THROTTLES = {"Lambda.TooManyRequestsException", "Lambda.ServiceException"}


def _graphs(states: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the definition and every one inside a Map."""
    yield states
    for state in states["States"].values():
        if "ItemProcessor" in state:
            yield from _graphs(state["ItemProcessor"])


def _targets(state: dict[str, Any]) -> Iterator[str]:
    for part in (state, *state.get("Catch", ()), *state.get("Choices", ())):
        if "Next" in part:
            yield part["Next"]
    if "Default" in state:
        yield state["Default"]


@pytest.mark.parametrize("graph", list(_graphs(DEFINITION)), ids=lambda graph: graph["StartAt"])
def test_every_target_exists_and_every_state_is_reachable(graph: dict[str, Any]) -> None:
    states = graph["States"]
    reached: set[str] = set()
    pending = [graph["StartAt"]]
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending += _targets(states[name])
    assert reached == set(states)
    for state in states.values():
        is_end = state.get("End") or state["Type"] in {"Succeed", "Fail"}
        assert bool(is_end) is not bool(list(_targets(state)))


def _tasks() -> Iterator[dict[str, Any]]:
    for graph in _graphs(DEFINITION):
        yield from (each for each in graph["States"].values() if each["Type"] == "Task")


def test_every_task_retries_throttling_and_one_killed_invocation() -> None:
    for task in _tasks():
        throttles, kills = task["Retry"]
        assert set(throttles["ErrorEquals"]) >= _THROTTLES
        assert throttles["JitterStrategy"] == "FULL"
        assert kills["ErrorEquals"] == ["States.ALL"]
        assert kills["MaxAttempts"] <= 2


def test_a_failed_child_or_host_does_not_stop_the_others() -> None:
    graphs = {graph["StartAt"]: graph["States"] for graph in _graphs(DEFINITION)}
    assert graphs["Copy"]["Copy"]["Catch"] == [{"ErrorEquals": ["States.ALL"], "Next": "Done"}]
    repositories = graphs["Repositories"]["Repositories"]
    assert repositories["ToleratedFailurePercentage"] == 100.0
    assert repositories["Catch"][0]["Next"] == "HostFailed"
    assert DEFINITION["States"]["Choose"]["Catch"][0]["Next"] == "Summarise"


def test_state_outputs_are_discarded() -> None:
    graphs = {graph["StartAt"]: graph["States"] for graph in _graphs(DEFINITION)}
    assert graphs["Copy"]["Done"]["Result"] == {}
    assert graphs["Repositories"]["Repositories"]["ResultPath"] is None
    assert DEFINITION["States"]["Hosts"]["ResultPath"] is None


def test_the_definition_matches_the_schema() -> None:
    template = {
        "Resources": {
            "Machine": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {
                    "RoleArn": "arn:aws:iam::123456789012:role/machine",
                    # the schema accepts only ARNs of the standard partition
                    "Definition": json.loads(_PATH.read_text().replace("${Partition}", "aws")),
                    "DefinitionSubstitutions": {"FunctionArn": "a"},
                },
            }
        }
    }

    matches = lint(json.dumps(template), config=ManualArgs(regions=["eu-west-1"]))
    assert [each for each in matches if each.rule.id.startswith("E")] == []
