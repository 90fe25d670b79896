"""moto's AWS services on loopback, with one account that is empty at the start."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from moto.server import ThreadedMotoServer  # noqa: TID251 - used here alone

_RUNNING = threading.Lock()


@contextmanager
def running_moto() -> Iterator[str]:
    """Run moto's server with an empty account; yield its URL.

    All servers of a process have the same state, also after they were stopped. So only one may run
    at a time, and the state is removed before and after.
    """
    assert _RUNNING.acquire(blocking=False), (
        "another fixture of this process runs moto: give it the scope of its module"
    )
    try:
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        try:
            host, port = server.get_host_and_port()
            url = f"http://{host}:{port}"
            _reset(url)
            yield url
            _reset(url)
        finally:
            server.stop()
    finally:
        _RUNNING.release()


def _reset(url: str) -> None:
    requests.post(f"{url}/moto-api/reset", timeout=60).raise_for_status()
