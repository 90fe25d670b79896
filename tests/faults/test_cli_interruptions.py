"""The engine from a shell, in the middle of a copy: bars on a terminal, Ctrl-C and SIGTERM."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from local.images import Image, build_image, build_layer, push
from local.registry import RegistryServer
from tests.faults.fault_proxy import Exchange, Fault, FaultProxy, Message, pass_on

_SECONDS = 30.0


@dataclass
class Stage:
    """Half of a layer arrives; the other half when a test lets it."""

    image: Image
    destination: RegistryServer
    layer: str
    is_half_way: threading.Event = field(default_factory=threading.Event)
    may_go_on: threading.Event = field(default_factory=threading.Event)
    source: str = ""

    def choose(self, exchange: Exchange) -> Fault:
        return self.hold if exchange.request.target.endswith(self.layer) else pass_on

    def hold(self, exchange: Exchange) -> None:
        exchange.read_body()
        answer = exchange.forward()
        half = len(answer.body) // 2
        exchange.send(answer, half)
        self.is_half_way.set()
        assert self.may_go_on.wait(_SECONDS)
        exchange.send(Message(b"", answer.body[half:]))

    @contextmanager
    def started(self, **streams: int) -> Iterator[subprocess.Popen[bytes]]:
        """Start a copy, and wait until it is half way."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PLAIN_HTTP_REGISTRIES": "127.0.0.1",
            "TERM": "xterm",
            "COLUMNS": "120",
        }
        arguments = [
            "-m",
            "ecr_image_replicator",
            "copy",
            self.source,
            f"{self.destination.host}/copy:1",
        ]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        with subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            **pipes,  # type: ignore[call-overload]
        ) as process:
            try:
                assert self.is_half_way.wait(_SECONDS)
                yield process
            finally:
                self.may_go_on.set()
                process.kill()


@pytest.fixture
def stage() -> Iterator[Stage]:
    layer = build_layer(3_000_000, seed=1)
    image = build_image([layer, build_layer(5000, seed=2)])
    with RegistryServer() as registry, RegistryServer() as destination:
        push(image, registry.host, "app", "1")
        opened = Stage(image, destination, layer.digest)
        with FaultProxy(registry.host, opened.choose) as proxy:
            opened.source = f"{proxy.host}/app:1"
            yield opened


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_leaves_no_upload_session_and_no_tag(
    stage: Stage, number: signal.Signals, status: int
) -> None:
    with stage.started() as process:
        process.send_signal(number)
        printed, told = process.communicate(timeout=_SECONDS)

    assert process.returncode == status, told
    assert printed == b""
    assert told.endswith(
        b"error: interrupted: the tags are as they were, cancellation was requested\n"
    )
    assert stage.destination.store.open_uploads == ()
    assert stage.destination.store.tags("copy") == {}
    assert "DELETE" in {each.method for each in stage.destination.requests}


def test_a_job_that_was_told_to_ignore_ctrl_c_goes_on(stage: Stage) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which processes inherit
    try:
        with stage.started() as process:
            process.send_signal(signal.SIGINT)
            stage.may_go_on.set()
            process.communicate(timeout=_SECONDS)
    finally:
        signal.signal(signal.SIGINT, before)

    assert process.returncode == 0
    assert stage.destination.store.tags("copy") == {"1": stage.image.digest}


@pytest.mark.parametrize("arguments", [[], ["--dry-run"]])
def test_a_registry_that_never_answers_holds_nobody_up(arguments: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen(
            [
                sys.executable,
                "-m",
                "ecr_image_replicator",
                "copy",
                f"{host}/a:1",
                f"{host}/b:1",
                *arguments,
            ],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
            stderr=subprocess.PIPE,
        ) as process:
            silent.settimeout(_SECONDS)
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                _, told = process.communicate(timeout=_SECONDS)

    assert process.returncode == 130
    assert told.startswith(b"error: interrupted")
    assert told.count(b"\n") == 1


def test_a_terminal_shows_a_bar_for_the_layer_in_flight_and_clears_it(stage: Stage) -> None:
    ours, theirs = pty.openpty()
    shown = b""
    with stage.started(stderr=theirs) as process:
        os.close(theirs)
        while stage.layer[:19].encode() not in shown or b"blobs" not in shown:
            shown += os.read(ours, 4096)
        stage.may_go_on.set()
        while block := _read(ours):
            shown += block
        printed, _ = process.communicate(timeout=_SECONDS)
    os.close(ours)

    assert process.returncode == 0
    assert printed.startswith(f"{stage.destination.host}/copy:1@{stage.image.digest}".encode())
    # the layer's bytes and what is left, and in the end nothing of it
    assert re.search(rb"[0-9.]+/[0-9.]+ [KM]iB", shown)
    assert b"\x1b[2K" in shown
    assert b"copied" not in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""  # Linux says EIO when the last one has left
