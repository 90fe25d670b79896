"""Mirrors from and to hosts that do not respond, or respond without end: others go on."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from local.registry import RegistryServer
from tests.faults.fault_proxy import Exchange, FaultProxy
from tests.functional.mirror_fixtures import put_tags, run_mirror

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.mirror.known import KnownImages
from ecr_image_replicator.mirror.preparation import prepare
from ecr_image_replicator.mirror.report import ChoiceSummary, MirrorReport
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.mirror_parsing import parse_mirror
from ecr_image_replicator.request.settings import Settings

#: Limits that a test waits for.
SHORT_SECONDS = 0.2
TAGS = [str(number) for number in range(1, 7)]
_ONCE = {"numAttempts": 1}


@pytest.fixture
def source() -> Iterator[RegistryServer]:
    with RegistryServer() as registry:
        put_tags(registry, "team/app", TAGS)
        yield registry


@pytest.fixture
def destination() -> Iterator[RegistryServer]:
    with RegistryServer() as registry:
        yield registry


@pytest.fixture
def replicator() -> Iterator[Replicator]:
    opened = Replicator(Settings(plain_http=("127.0.0.1",), stall_timeout_seconds=SHORT_SECONDS))
    yield opened
    opened.close()


@pytest.fixture
def silent() -> Iterator[FaultProxy]:
    """A host that accepts connections and sends nothing."""
    with FaultProxy("", lambda _: Exchange.wait_for_client_to_go) as server:
        yield server


@pytest.fixture
def unconnectable() -> Iterator[str]:
    """A host on which connections time out, since its queue of connections is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"127.0.0.1:{server.getsockname()[1]}"


def _trickle(exchange: Exchange) -> None:
    """Send a long list of tags one byte at a time: no read ever stalls."""
    exchange.client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    never = threading.Event()
    with contextlib.suppress(OSError):
        while not never.wait(0.01):
            exchange.client.sendall(b" ")
    exchange.close()


def _entry(source: str, destination: RegistryServer, **more: Any) -> dict[str, Any]:
    dest = f"{destination.host}/mirror/{source.partition(':')[2]}"
    return {
        "SrcRepository": f"{source}/team/app",
        "DestRepository": dest,
        "RetryConfigs": _ONCE,
        **more,
    }


@pytest.mark.parametrize("fault", [Exchange.wait_for_client_to_go, _trickle])
def test_a_list_that_does_not_come_ends_at_its_limit_and_other_hosts_go_on(
    source: RegistryServer,
    destination: RegistryServer,
    fault: Callable[[Exchange], None],
) -> None:
    patient = Replicator(Settings(plain_http=("127.0.0.1",)))
    with FaultProxy("", lambda _: fault) as server:
        mirror = parse_mirror(
            {"Repositories": [_entry(server.host, destination), _entry(source.host, destination)]}
        )

        prepared = prepare(
            patient, mirror, KnownImages(), Deadline(3600), list_seconds=SHORT_SECONDS
        )

    patient.close()
    assert len(prepared.entries[1].images) == len(TAGS)
    (failed,) = MirrorReport(ChoiceSummary.of(prepared)).failed
    assert failed.error == (
        f"Repositories[0].SrcRepository: cannot list the tags of {server.host}/team/app: timed out "
        f"before the end of the list. Check that {server.host} responds, or name the tags in Tags."
    )
    assert len(server.exchanges) == 1


def test_a_host_that_does_not_respond_fails_its_images_and_is_not_tried_for_each(
    source: RegistryServer,
    destination: RegistryServer,
    silent: FaultProxy,
    replicator: Replicator,
) -> None:
    many = [f"1.{number}" for number in range(40)]
    entries = [
        _entry(silent.host, destination, Tags=many),
        _entry(source.host, destination, Tags=TAGS),
    ]

    report = run_mirror({"Repositories": entries}, replicator=replicator)

    assert report.values()["Copied"] == str(len(TAGS))
    errors = [each.error for each in report.failed]
    cause = f"Repositories[0].SrcRepository: cannot connect to {silent.host}: connection timed out"
    assert len(errors) == len(many)
    assert all(error.startswith(cause) for error in errors[:3])
    assert all(
        error.startswith(f"not tried after 3 images in a row that failed. {cause}")
        for error in errors[3:]
    )
    assert {each.kind for each in report.failed} == {"Unavailable"}
    # 16 are compared at a time, and one after the other is copied
    assert len(silent.exchanges) <= 16 + 3


def test_a_host_on_which_connections_time_out_is_named(
    source: RegistryServer,
    destination: RegistryServer,
    unconnectable: str,
    replicator: Replicator,
) -> None:
    image = {
        "SrcImage": f"{unconnectable}/team/app:1",
        "DestImage": f"{destination.host}/mirror/one:1",
        "RetryConfigs": _ONCE,
    }
    mirror = {
        "Repositories": [_entry(unconnectable, destination), _entry(source.host, destination)],
        "Images": [image],
    }

    report = run_mirror(mirror, replicator=replicator)

    assert report.values()["Copied"] == str(len(TAGS))
    cause = f"cannot connect to {unconnectable}: connection timed out"
    first, second = (each.error for each in report.failed)
    assert first.startswith(f"Repositories[0].SrcRepository: {cause}")
    assert second.startswith(f"Images[0].SrcImage: {cause}")


def test_a_destination_that_does_not_respond_is_named(
    source: RegistryServer, silent: FaultProxy, replicator: Replicator
) -> None:
    entry = {
        "SrcRepository": f"{source.host}/team/app",
        "DestRepository": f"{silent.host}/mirror/app",
        "RetryConfigs": _ONCE,
    }

    report = run_mirror({"Repositories": [entry]}, replicator=replicator)

    assert report.values()["Failed"] == str(len(TAGS))
    assert report.failed[0].error.startswith(
        f"Repositories[0].DestRepository: cannot connect to {silent.host}: connection timed out"
    )
