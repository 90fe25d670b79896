"""The command line during a copy: progress bars, Ctrl-C and SIGTERM."""

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

_SECONDS = 60.0


@dataclass
class Stage:
    """A source that sends half of a layer and waits before it sends the rest."""

    image: Image
    destination: RegistryServer
    layer: str
    half_sent: threading.Event = field(default_factory=threading.Event)
    continue_sending: threading.Event = field(default_factory=threading.Event)
    source: str = ""

    def choose(self, exchange: Exchange) -> Fault:
        return self.hold if exchange.request.target.endswith(self.layer) else pass_on

    def hold(self, exchange: Exchange) -> None:
        exchange.read_body()
        response = exchange.forward()
        half = len(response.body) // 2
        exchange.send(response, half)
        self.half_sent.set()
        assert self.continue_sending.wait(_SECONDS)
        exchange.send(Message(b"", response.body[half:]))

    @contextmanager
    def started(self, **streams: int) -> Iterator[subprocess.Popen[bytes]]:
        """Start a copy and wait until half of the layer is sent."""
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
                assert self.half_sent.wait(_SECONDS)
                yield process
            finally:
                self.continue_sending.set()
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
        printed, errors = process.communicate(timeout=_SECONDS)

    assert process.returncode == status, errors
    assert printed == b""
    assert errors.endswith(
        b"error: interrupted: the destination's tags are unchanged, "
        b"the cancellation of uploads was requested\n"
    )
    assert stage.destination.store.open_uploads == ()
    assert stage.destination.store.tags("copy") == {}
    assert "DELETE" in {each.method for each in stage.destination.requests}


def test_a_process_that_ignores_sigint_continues(stage: Stage) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # child processes inherit it
    try:
        with stage.started() as process:
            process.send_signal(signal.SIGINT)
            stage.continue_sending.set()
            process.communicate(timeout=_SECONDS)
    finally:
        signal.signal(signal.SIGINT, before)

    assert process.returncode == 0
    assert stage.destination.store.tags("copy") == {"1": stage.image.digest}


@pytest.mark.parametrize("arguments", [[], ["--dry-run"]])
def test_a_silent_registry_does_not_delay_an_interruption(arguments: list[str]) -> None:
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
                _, errors = process.communicate(timeout=_SECONDS)

    assert process.returncode == 130
    assert errors.startswith(b"error: interrupted")
    assert errors.count(b"\n") == 1


def test_a_terminal_shows_and_clears_a_progress_bar_of_the_layer(stage: Stage) -> None:
    ours, theirs = pty.openpty()
    shown = b""
    with stage.started(stderr=theirs) as process:
        os.close(theirs)
        while stage.layer[:19].encode() not in shown or b"blobs" not in shown:
            shown += os.read(ours, 4096)
        stage.continue_sending.set()
        while block := _read(ours):
            shown += block
        printed, _ = process.communicate(timeout=_SECONDS)
    os.close(ours)

    assert process.returncode == 0
    assert printed.startswith(f"{stage.destination.host}/copy:1@{stage.image.digest}".encode())
    # the layer's bytes and the remaining time, and finally an empty line
    assert re.search(rb"[0-9.]+/[0-9.]+ [KM]iB", shown)
    assert b"\x1b[2K" in shown
    assert b"copied" not in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""  # Linux raises EIO when the other end is closed
