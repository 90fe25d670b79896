from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from local.ports import reserved_port

from local import ports


def test_a_program_can_listen_on_a_reserved_port() -> None:
    with reserved_port() as port, socket.create_server(("127.0.0.1", port)) as server:
        assert server.getsockname() == ("127.0.0.1", port)


def test_a_reserved_port_is_not_reserved_again_before_it_is_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with reserved_port() as first, reserved_port() as second:
        assert first != second
        taken = [first, second]

    def choose_both() -> set[int]:
        with ExitStack() as stack:
            return {stack.enter_context(reserved_port()) for _ in taken}

    # with two ports to choose from, a second choice of the same port would be likely
    monkeypatch.setattr(ports, "unassigned_ports", lambda: taken)
    assert all(choose_both() == set(taken) for _ in range(20))


def test_a_port_in_use_is_not_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    with reserved_port() as port:
        free = port
    with socket.create_server(("127.0.0.1", 0)) as server:
        used = server.getsockname()[1]
        monkeypatch.setattr(ports, "unassigned_ports", lambda: [used, used, used, free])
        with reserved_port() as port:
            assert port == free


@pytest.mark.parametrize(
    ("kernel", "first", "last", "count"),
    [
        ("32768\t60999\n", 10240, 65535, 22528 + 4536),
        ("16000\t65535\n", 10240, 15999, 5760),
        # every port can be assigned
        ("1024\t65535\n", 10240, 65535, 55296),
    ],
)
def test_ports_that_the_kernel_assigns_are_not_reserved(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kernel: str,
    first: int,
    last: int,
    count: int,
) -> None:
    file = tmp_path / "range"
    file.write_text(kernel)
    monkeypatch.setattr(ports, "_RANGE_FILE", file)
    found = ports.unassigned_ports()
    assert (found[0], found[-1], len(found)) == (first, last, count)


def test_the_usual_range_applies_where_the_kernel_has_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ports, "_RANGE_FILE", tmp_path / "range")
    assert 32767 in ports.unassigned_ports()
    assert 32768 not in ports.unassigned_ports()
