"""`make cloud` and every event of events/, sent to the function with the cloud's environment.

`sam local invoke` runs the same emulator in a container.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from local.emulator import LambdaEmulator
from tests.functional.test_events import DIRECT, EVENTS, EXPECTED

ROOT = Path(__file__).parents[2]
FREE_PORTS = [f"--{name}-port=0" for name in ("source", "destination", "cloudformation", "proxy")]
HERE = {"source": "localhost:5001", "destination": "localhost:5002"}


@dataclass(frozen=True)
class Cloud:
    """The running program and its output."""

    process: subprocess.Popen[str]
    text: str
    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the environment file."""
        lines = (self.directory / "environment").read_text().splitlines()
        return {name: shlex.split(value)[0] for name, _, value in (x.partition("=") for x in lines)}

    def host(self, registry: str) -> str:
        found = re.search(rf"^{registry} registry +http://(\S+)", self.text, re.MULTILINE)
        assert found is not None, self.text
        return found[1]

    def event(self) -> dict[str, Any]:
        """The example event of the description file."""
        event = json.loads((self.directory / "cloud.json").read_text())["event"]
        assert isinstance(event, dict)
        return event

    def next_response(self) -> dict[str, Any]:
        """Wait until the program prints a response."""
        assert self.process.stdout is not None
        lines: list[str] = []
        for line in self.process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        text = "".join(lines)
        response = json.loads(text[text.index("{") :])
        assert isinstance(response, dict)
        return response


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    directory = tmp_path_factory.mktemp("cloud")
    with subprocess.Popen(
        [sys.executable, "-m", "local", *FREE_PORTS, f"--directory={directory}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Responses"):
                break
        yield Cloud(process, "".join(lines), directory)
        process.terminate()


@pytest.fixture(scope="module")
def function(cloud: Cloud) -> Iterator[LambdaEmulator]:
    # SAM sets this variable in its container
    environment = {**cloud.environment, "AWS_SAM_LOCAL": "true"}
    with LambdaEmulator(ROOT / "handler", environment=environment) as emulator:
        yield emulator


@pytest.mark.parametrize("name", EXPECTED)
def test_an_event_succeeds_in_the_printed_environment(
    cloud: Cloud, function: LambdaEmulator, name: str
) -> None:
    text = (EVENTS / f"{name}.json").read_text()
    for registry, host in HERE.items():
        text = text.replace(host, cloud.host(registry))

    response = function.invoke(json.loads(text))

    status, found = EXPECTED[name]
    assert response["Status"] == status, response
    assert found in json.dumps([response["Data"], response.get("Reason", "")])


@pytest.mark.parametrize("name", DIRECT)
def test_a_direct_call_returns_its_result(
    cloud: Cloud, function: LambdaEmulator, name: str
) -> None:
    text = (EVENTS / f"{name}.json").read_text()
    for registry, host in HERE.items():
        text = text.replace(host, cloud.host(registry))
    event = json.loads(text)
    event["DestImage"] += "-direct"

    values = function.invoke(event)

    assert DIRECT[name].items() <= values.items()


def test_the_response_to_the_example_event_is_sent_to_the_cloud(
    cloud: Cloud, function: LambdaEmulator
) -> None:
    returned = function.invoke(cloud.event())

    assert returned["Status"] == "SUCCESS", returned
    assert cloud.next_response() == returned


def test_docker_hub_and_ecr_are_reachable_with_the_printed_settings(
    cloud: Cloud, function: LambdaEmulator
) -> None:
    names = re.search(r"Docker Hub +(\S+?),.*\nAmazon ECR +(\S+)", cloud.text)
    assert names is not None, cloud.text
    properties = {"SrcImage": names[1], "DestImage": f"{names[2]}:1.0", "Platforms": "all"}

    response = function.invoke({"RequestType": "Create", "ResourceProperties": properties})

    assert response["Status"] == "SUCCESS", response
    assert response["Data"]["RepositoryUri"] == names[2]


@pytest.mark.parametrize(
    ("name", "status", "expected"),
    [
        ("create-whole-index", 0, "Status              SUCCESS"),
        ("create-missing-image", 1, "Status              FAILED"),
    ],
)
def test_make_invoke_prints_a_readable_response(
    cloud: Cloud, name: str, status: int, expected: str
) -> None:
    done = invoke(EVENTS / f"{name}.json", cloud.directory / "cloud.json")

    assert done.returncode == status, done.stderr
    assert expected in done.stdout.splitlines()


def test_make_invoke_without_a_cloud_prints_the_start_command(tmp_path: Path) -> None:
    done = invoke(EVENTS / "delete.json", tmp_path / "cloud.json")

    assert done.returncode == 2
    assert "Run `make cloud` in another terminal." in done.stderr


def invoke(event: Path, cloud: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local.invoke", event, f"--cloud={cloud}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_event_is_documented() -> None:
    page = (ROOT / "docs" / "local.md").read_text()
    assert (
        set(re.findall(r"^\| \[`([a-z-]+)`\]", page, re.MULTILINE))
        == EXPECTED.keys() | DIRECT.keys()
    )


def test_the_ports_in_events_are_the_default_ports_of_the_cloud() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "local", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    hosts = {
        host
        for file in EVENTS.glob("*.json")
        for host in re.findall(r"localhost:\d+", file.read_text())
    }
    assert hosts == {*HERE.values()}
    for registry, host in HERE.items():
        assert re.search(rf"--{registry}-port PORT\s+default {host[10:]};", help_text.stdout)


def test_documented_sam_local_invoke_commands_name_a_function_of_the_template() -> None:
    """SAM requires a function name, since the template has two functions."""
    template = (ROOT / "template.yaml").read_text()
    commands = [
        command.replace("\\\n", " ").split()
        for page in (ROOT / "README.md", *ROOT.glob("docs/*.md"))
        for command in re.findall(
            r"^sam local invoke((?:.*\\\n)*.*)$", page.read_text(), re.MULTILINE
        )
    ]
    assert commands
    for command in commands:
        assert f"\n  {command[0]}:\n    Type: AWS::Serverless::Function" in template
        event = command[command.index("--event") + 1]
        assert (ROOT / event).is_file()
