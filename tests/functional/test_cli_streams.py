"""The command line with standard streams that are closed, full, or not read by anybody."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local.images import Image, build_image, build_layer, push
from local.registry import RegistryServer

from ecr_image_replicator.cli.exit_codes import Exit

Start = Callable[..., RegistryServer]


@pytest.fixture
def image() -> Image:
    return build_image([build_layer(20_000 + each, seed=each) for each in range(3)])


@pytest.mark.parametrize("option", ["--json", "--tag=latest", "--dry-run"])
def test_a_closed_standard_output_is_an_error_without_a_traceback(
    registries: Start, image: Image, option: str
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    with broken_pipe() as output:
        command = run_with(
            stdout=output, arguments=[*names(source, destination), option], stderr=subprocess.PIPE
        )
    assert command.returncode == Exit.FAILED
    assert command.stderr.endswith("error: cannot write to standard output: its reader has ended\n")
    assert ("1" in destination.store.tags("mirror/app")) == (option != "--dry-run")


def test_a_full_standard_output_is_an_error_without_a_traceback(
    registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    with Path("/dev/full").open("w") as output:
        command = run_with(
            stdout=output, arguments=names(source, destination), stderr=subprocess.PIPE
        )
    assert command.returncode == Exit.FAILED
    assert command.stderr.endswith("cannot write to standard output: No space left on device\n")
    assert "defect" not in command.stderr


def test_a_copy_goes_on_when_nobody_reads_its_messages(registries: Start, image: Image) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    with broken_pipe() as messages:
        command = run_with(
            stdout=subprocess.PIPE, arguments=names(source, destination), stderr=messages
        )
    assert (command.returncode, "copied" in command.stdout) == (Exit.DONE, True)
    assert destination.store.tags("mirror/app")["1"] == image.digest


def test_a_copy_needs_no_standard_error(registries: Start, image: Image) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    command = run_with(
        stdout=subprocess.PIPE,
        arguments=names(source, destination),
        stderr=subprocess.PIPE,
        preexec_fn=lambda: os.close(2),
    )
    assert (command.returncode, "copied" in command.stdout) == (Exit.DONE, True)


def test_an_invalid_argument_without_standard_error_prints_nothing() -> None:
    command = run_with(
        stdout=subprocess.PIPE,
        arguments=["one"],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: os.close(2),
    )
    assert (command.returncode, command.stdout) == (Exit.USAGE, "")


def names(source: RegistryServer, destination: RegistryServer) -> list[str]:
    return [f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1"]


@contextlib.contextmanager
def broken_pipe() -> Iterator[int]:
    """Yield the end for writing of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


def run_with(*, arguments: list[str], **streams: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ecr_image_replicator", "copy", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
        timeout=60,
        check=False,
        **streams,
    )
