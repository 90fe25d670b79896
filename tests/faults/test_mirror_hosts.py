"""Mirrors from and to hosts that do not respond, or respond without end: others go on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from local.registry import RegistryServer
from tests.faults.fault_proxy import Exchange, FaultProxy
from tests.faults.stalls import declared_stalls, unreachable
from tests.faults.virtual_time import VirtualTime
from tests.functional.mirror_fixtures import put_tags, run_mirror
from tests.waiting import wait_until

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.mirror.known import KnownImages
from ecr_image_replicator.mirror.preparation import prepare
from ecr_image_replicator.mirror.report import ChoiceSummary, MirrorReport
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.mirror_parsing import parse_mirror
from ecr_image_replicator.request.settings import Settings

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
    opened = Replicator(Settings(plain_http=("127.0.0.1",)))
    with declared_stalls():
        yield opened
    opened.close()


@pytest.fixture
def silent() -> Iterator[FaultProxy]:
    """A host that accepts connections and sends nothing."""
    with FaultProxy("", lambda _: Exchange.stall) as server:
        yield server


@pytest.fixture
def unconnectable() -> Iterator[str]:
    """A host on which connections time out."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        with unreachable(host):
            yield host


def _entry(source: str, destination: RegistryServer, **more: Any) -> dict[str, Any]:
    dest = f"{destination.host}/mirror/{source.partition(':')[2]}"
    return {
        "SrcRepository": f"{source}/team/app",
        "DestRepository": dest,
        "RetryConfigs": _ONCE,
        **more,
    }


def _listing_threads() -> int:
    return sum(thread.name.startswith("lists") for thread in threading.enumerate())


@pytest.mark.parametrize("received", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n  "])
def test_a_list_that_does_not_come_ends_at_its_limit_and_other_hosts_go_on(
    source: RegistryServer,
    destination: RegistryServer,
    monkeypatch: pytest.MonkeyPatch,
    received: bytes,
) -> None:
    time = VirtualTime(1)
    time.install_timers(monkeypatch)
    patient = Replicator(Settings(plain_http=("127.0.0.1",)))

    def send_too_little(exchange: Exchange) -> None:
        exchange.client.sendall(received)
        wait_until(lambda: source.requests and _listing_threads() == 1)  # the other list has come
        time.pass_until_a_timer_fires()
        exchange.wait_for_client_to_go()

    with FaultProxy("", lambda _: send_too_little) as server:
        mirror = parse_mirror(
            {"Repositories": [_entry(server.host, destination), _entry(source.host, destination)]}
        )

        prepared = prepare(patient, mirror, KnownImages(), Deadline(3600, clock=time))

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
