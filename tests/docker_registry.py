"""Debian's docker-registry on a port that the kernel chooses."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs import find_program
from tests.waiting import wait_until

_CONFIGURATION = """\
version: 0.1
log: {{level: info}}
storage: {{filesystem: {{rootdirectory: {data}}}, delete: {{enabled: true}}}}
http: {{addr: '127.0.0.1:0'}}
"""
_LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")


@contextmanager
def running_docker_registry(directory: Path) -> Iterator[tuple[str, Path]]:
    """Run docker-registry; yield its host (``127.0.0.1:PORT``) and its storage directory."""
    program, data, log = find_program("docker-registry"), directory / "data", directory / "log"
    configuration = directory / "config.yml"
    configuration.write_text(_CONFIGURATION.format(data=data))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "serve", str(configuration)], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until(
            lambda: _LISTENING.search(log.read_text()) or process.poll() is not None,
            lambda: f"docker-registry does not start: {log.read_text()}",
        )
        listening = _LISTENING.search(log.read_text())
        assert listening, f"docker-registry does not start: {log.read_text()}"
        yield listening[1], data
    finally:
        process.kill()
        process.wait()
