"""`sam deploy` in a pseudo-terminal, up to the first call of AWS."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from local.web import LoopbackServer, Request, Response, read_body
from tests.examples.resolver import load_template

ROOT = Path(__file__).parents[2]
TEMPLATE: dict[str, Any] = load_template(ROOT / "template.yaml")
#: SAM ends each prompt with the default in brackets.
PROMPT = re.compile(r"\[[^\[\]\n]*\]: $")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
DENIED = (
    "<ErrorResponse><Error><Code>AccessDenied</Code><Message>end of the test</Message></Error>"
    "</ErrorResponse>"
)
SECONDS = 120.0


@dataclass
class FakeAws:
    """An AWS endpoint that denies every call and records its parameters."""

    calls: list[str] = field(default_factory=list)

    def respond(self, request: Request) -> Response:
        self.calls.append(read_body(request, 1024 * 1024).decode(errors="replace"))
        return Response(403, {"Content-Type": "text/xml"}, DENIED.encode())


@pytest.fixture
def aws() -> Iterator[tuple[FakeAws, str]]:
    fake = FakeAws()
    server = LoopbackServer(fake.respond)
    server.start()
    yield fake, server.url
    server.close()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository, since SAM writes to samconfig.toml."""
    for name in ("template.yaml", "samconfig.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run_in_terminal(directory: Path, url: str, *arguments: str) -> str:
    """Run `sam deploy` in a pseudo-terminal, press Enter at each prompt and return the output."""
    sam = shutil.which("sam")
    if sam is None:
        pytest.fail("sam is not on the PATH: run `make test`, which installs it")
    terminal, child = pty.openpty()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "TERM": "dumb",
        "SAM_CLI_TELEMETRY": "0",
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }
    process = subprocess.Popen(
        [sam, "deploy", *arguments],
        cwd=directory,
        env=environment,
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
    )
    os.close(child)
    output, prompt_end = "", 0
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                received = os.read(terminal, 65536).decode(errors="replace")
            except OSError:
                break  # Linux raises OSError at the end of a terminal
            output += ESCAPES.sub("", received).replace("\r\n", "\n")
            if PROMPT.search(output, prompt_end):
                prompt_end = len(output)
                os.write(terminal, b"\n")
        else:
            pytest.fail(f"sam deploy did not end:\n{output}")
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    return output


def test_a_guided_deployment_accepts_the_default_at_each_prompt(
    aws: tuple[FakeAws, str], checkout: Path
) -> None:
    fake, url = aws

    output = run_in_terminal(checkout, url, "--guided", "--template", "template.yaml")

    assert "Stack Name [ecr-image-replicator]:" in output
    parameters = re.findall(r"Parameter (\w+) \[", output)
    assert sorted(parameters) == sorted(TEMPLATE["Parameters"])
    assert fake.calls, output
    assert "DescribeStacks" in fake.calls[0] or "CreateChangeSet" in fake.calls[0]


def test_a_deployment_without_options_has_no_prompts(
    aws: tuple[FakeAws, str], checkout: Path
) -> None:
    fake, url = aws

    output = run_in_terminal(checkout, url, "--template", "template.yaml")

    assert not re.search(PROMPT, output)
    assert fake.calls, output
    assert "Missing option" not in output
