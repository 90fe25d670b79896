"""The documented commands that need only this repository, run unchanged except for ports.

The system chooses the ports.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from local.registry import RegistryServer
from tests.documents.scene import ECR, Scene, saved
from tests.documents.shell_blocks import ROOT, blocks, local_commands
from tests.examples.indexes import build_two_platforms

from ecr_image_replicator.cli.arguments import PROGRAM
from ecr_image_replicator.cli.command import run
from ecr_image_replicator.cli.exit_codes import Exit

MIRRORS: Final = ROOT / "docs" / "mirrors.md"
COMMANDS: Final = [each for each in local_commands() if each.startswith(f"{PROGRAM} ")]
FREE_PORTS: Final = (
    *("--source-port=0", "--destination-port=0", "--cloudformation-port=0", "--proxy-port=0"),
)


def examples_of_the_help(capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit):
        run(["copy", "--help"], {})
    shown = capsys.readouterr().out
    return re.findall(rf"^  ({PROGRAM} copy .*)$", shown, re.MULTILINE)


def run_command(command: str, registry: RegistryServer) -> int:
    command = command.replace("localhost:5000", registry.host)
    try:
        return run(shlex.split(command)[1:], os.environ)
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.fixture
def shell(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A directory with the files that the pages name, and the registries."""
    monkeypatch.chdir(scene.directory)
    monkeypatch.setenv("HOME", str(scene.directory))
    index = build_two_platforms(9)
    for name in ("nginx:1.27.1-alpine", "nginx:latest", "quay.io/prometheus/prometheus:v3.1.0"):
        scene.cloud.push_image(name, index)
    scene.cloud.push_image("registry.example.com/any:1", scene.image)
    scene.cloud.create_repository(f"{ECR}/app:1.0")
    scene.save(saved("app:1.0", 3))
    (block,) = re.findall(r"Write a file:\n\n```yaml\n(.*?)```", MIRRORS.read_text(), re.DOTALL)
    Path("mirror.yaml").write_text(block)
    return scene


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    server = RegistryServer().start()
    yield server
    server.close()


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_commands_succeed(
    command: str, shell: Scene, registry: RegistryServer, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run_command(command, registry)

    shown = capsys.readouterr()
    assert status == Exit.DONE, shown.err
    assert shown.out
    for option in ("--state", "--report"):
        if option in command:
            assert (shell.directory / command.split(f"{option} ")[1].split(maxsplit=1)[0]).exists()


@pytest.mark.usefixtures("shell")
def test_the_examples_of_the_help_work(
    registry: RegistryServer, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = examples_of_the_help(capsys)
    assert len(commands) == 3
    for command in commands:
        assert run_command(command, registry) == Exit.DONE, capsys.readouterr().err


def test_the_demo_copies_an_image_twice() -> None:
    for logs in ((), ("--logs",)):
        finished = subprocess.run(
            [sys.executable, "-m", "local.demo", *logs],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'handler'}:{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert finished.returncode == 0, finished.stderr
        assert "sha256:" in finished.stdout


@pytest.mark.parametrize(
    "command", [each for each in local_commands() if " -m local.registry " in each]
)
def test_a_registry_with_quirks_starts(command: str) -> None:
    _, *words = shlex.split(re.sub(r"(local\.registry)( --port \d+)?", r"\1 --port 0", command))
    with subprocess.Popen(
        [sys.executable, *words, "--port=0"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
        assert line.startswith("serving 127.0.0.1:"), process.stderr and process.stderr.read()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Path]:
    """The directory of a running ``make cloud``."""
    with subprocess.Popen(
        [sys.executable, "-m", "local", *FREE_PORTS, f"--directory={tmp_path}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Responses"):
                break
        yield tmp_path
        process.terminate()


def test_a_program_uses_the_local_cloud(cloud: Path) -> None:
    (block,) = (each for each in blocks() if "/environment" in each.text and not each.needs)
    event = json.loads((cloud / "cloud.json").read_text())["event"]
    destination = event["ResourceProperties"]["DestImage"].removeprefix("docker://").split("/")[0]
    command = block.text.replace(".cloud/environment", str(cloud / "environment"))
    command = command.replace(".venv/bin/python", sys.executable)
    command = command.replace("localhost:5002", destination)

    finished = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(f"{destination}/demo/archived:1.0@sha256:")
