"""scripts/check_in_aws.sh, run with programs that only record their arguments."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.examples.resolver import Stack, load_template
from tests.interop import fake_aws_program

from ecr_image_replicator.request.mirror_parsing import parse_mirror

ROOT = Path(__file__).parents[2]
HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


class NoCloud:
    """A cloud for stacks without resources."""

    def deploy(self, properties: Mapping[str, Any]) -> Mapping[str, Any]:
        raise AssertionError(properties)

    def create(self, kind: str, name: str, properties: Mapping[str, Any], region: str) -> str:
        raise AssertionError(kind, name, properties, region)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    text = Path(fake_aws_program.__file__).read_text()
    for name in ("aws", "curl"):
        program = directory / name
        program.write_text(f"#!{sys.executable}\n{text}")
        program.chmod(0o755)
    return directory


def _run(programs: Path, *arguments: str, **variables: str) -> tuple[str, list[list[str]]]:
    """Run the script and return its output and the programs' calls."""
    log, home = programs.parent / "log", programs.parent / "home"
    home.mkdir()
    finished = subprocess.run(
        ["bash", str(ROOT / "scripts" / "check_in_aws.sh"), *arguments],
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "TMPDIR": str(home),
            "AWS_REGION": "eu-west-1",
            "LAYER_GIB": "0",
            "FAKE_LOG": str(log),
            "FAKE_TEMPLATE": str(programs.parent / "template.yaml"),
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert list(home.iterdir()) == []  # no password stays on the disk
    return finished.stdout, [json.loads(line) for line in log.read_text().splitlines()]


def _named(calls: list[list[str]], service: str, *operations: str) -> list[list[str]]:
    return [each for each in calls if each[1] == service and each[2] in operations]


def test_a_mirror_is_created_run_updated_stopped_and_deleted(programs: Path) -> None:
    output, calls = _run(programs, "stack", MIRROR_BUCKET="bucket")

    found = dict(re.findall(r"^(.{34}) (.*)$", output, re.MULTILINE))
    found = {name.strip(): value for name, value in found.items()}
    assert found["a mirror of three tags"] == "chosen 3, copied 3, unchanged 0, failed 0"
    assert found["the next run, as scheduled"] == "copied 0 unchanged 3 failed 0 bytescopied 0"
    assert found["a stopped execution"] == "the mirror's run was stopped"
    assert found["schedules after the deletion"] == "0"
    (first, update) = _named(calls, "cloudformation", "update-stack")
    assert "ParameterKey=MirrorBucket,ParameterValue=bucket" in first
    assert "ParameterKey=Timeout,UsePreviousValue=true" in first
    assert "ParameterKey=Host,ParameterValue=192.0.2.1" in update
    runs = [each[-1] for each in _named(calls, "cloudformation", "deploy")]
    assert runs == ["Run=1", "Run=2"]
    order = [each[2] for each in calls]
    assert order.index("stop-execution") < order.index("delete-stack")
    assert order.index("delete-stack") < order.index("list-schedules")
    deleted = {each[-2] for each in _named(calls, "ecr", "delete-repository")}
    created = {each[-1] for each in _named(calls, "ecr", "create-repository")}
    assert deleted == created
    assert len(created) == 2


def test_the_scheduled_run_is_found_by_the_first_report(programs: Path) -> None:
    _, calls = _run(programs, "stack", MIRROR_BUCKET="bucket")

    payloads = [each[each.index("--payload") + 1] for each in _named(calls, "lambda", "invoke")]
    start = json.loads(payloads[-1])["Mirror"]
    assert (start["Step"], start["Run"]) == ("Start", fake_aws_program.RUN)
    name = re.sub(r"[-:]", "", start["At"])
    (wait,) = _named(calls, "s3api", "wait")
    mirror = fake_aws_program.OUTPUTS["Id"]
    assert wait[-1] == f"mirrors/{mirror}/scheduled-{name}/report.json"


def test_the_stack_of_the_mirror_is_valid(programs: Path) -> None:
    _run(programs, "stack", MIRROR_BUCKET="bucket")

    template = load_template(programs.parent / "template.yaml")
    stack = Stack(template, NoCloud(), parameters={"Run": "1"})
    (entry,) = parse_mirror(stack.properties("Mirror")).entries
    assert entry.source_name.startswith(f"{HOST}/replicator-check-")
    assert entry.destination_name == f"{entry.source_name}-mirror"


def test_the_mirror_is_not_checked_without_a_bucket(programs: Path) -> None:
    output, calls = _run(programs, "stack")

    assert re.search(r"^a mirror +not checked: set MIRROR_BUCKET$", output, re.MULTILINE)
    assert _named(calls, "cloudformation", "deploy") == []


def test_passwords_are_not_command_line_arguments(programs: Path) -> None:
    _, calls = _run(programs, "stack", MIRROR_BUCKET="bucket")

    assert any(each[1:3] == ["ecr", "get-login-password"] for each in calls)
    assert "hunter2" not in json.dumps(calls)
