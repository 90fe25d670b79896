"""Mirrors with an unresponsive host: its images fail, and other hosts continue."""

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
def stalled() -> Iterator[FaultProxy]:
    """A host that accepts connections and sends nothing."""
    with FaultProxy("", lambda _: Exchange.stall) as server:
        yield server


@pytest.fixture
def timing_out_host() -> Iterator[str]:
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
def test_a_tag_list_times_out_and_other_hosts_continue(
    source: RegistryServer,
    destination: RegistryServer,
    monkeypatch: pytest.MonkeyPatch,
    received: bytes,
) -> None:
    time = VirtualTime(1)
    time.install_timers(monkeypatch)
    long_timeout_replicator = Replicator(Settings(plain_http=("127.0.0.1",)))

    def send_partial_response(exchange: Exchange) -> None:
        exchange.client.sendall(received)
        wait_until(
            lambda: source.requests and _listing_threads() == 1
        )  # the other list is complete
        time.advance_to_first_timer()
        exchange.wait_for_client_close()

    with FaultProxy("", lambda _: send_partial_response) as server:
        mirror = parse_mirror(
            {"Repositories": [_entry(server.host, destination), _entry(source.host, destination)]}
        )

        prepared = prepare(
            long_timeout_replicator, mirror, KnownImages(), Deadline(3600, clock=time)
        )

    long_timeout_replicator.close()
    assert len(prepared.entries[1].images) == len(TAGS)
    (failed,) = MirrorReport(ChoiceSummary.of(prepared)).failed
    assert failed.error == (
        f"Repositories[0].SrcRepository: cannot list the tags of {server.host}/team/app: timed out "
        f"before the end of the list. Check that {server.host} responds, or name the tags in Tags."
    )
    assert len(server.exchanges) == 1


def test_an_unresponsive_host_fails_its_images_after_one_attempt(
    source: RegistryServer,
    destination: RegistryServer,
    stalled: FaultProxy,
    replicator: Replicator,
) -> None:
    many = [f"1.{number}" for number in range(40)]
    entries = [
        _entry(stalled.host, destination, Tags=many),
        _entry(source.host, destination, Tags=TAGS),
    ]

    report = run_mirror({"Repositories": entries}, replicator=replicator)

    assert report.values()["Copied"] == str(len(TAGS))
    errors = [each.error for each in report.failed]
    cause = f"Repositories[0].SrcRepository: cannot connect to {stalled.host}: connection timed out"
    assert len(errors) == len(many)
    assert all(error.startswith(cause) for error in errors[:3])
    assert all(
        error.startswith(f"not tried after 3 images in a row that failed. {cause}")
        for error in errors[3:]
    )
    assert {each.kind for each in report.failed} == {"Unavailable"}
    # 16 images are compared at a time, and copied sequentially
    assert len(stalled.exchanges) <= 16 + 3


def test_the_message_for_a_connection_timeout_names_the_host(
    source: RegistryServer,
    destination: RegistryServer,
    timing_out_host: str,
    replicator: Replicator,
) -> None:
    image = {
        "SrcImage": f"{timing_out_host}/team/app:1",
        "DestImage": f"{destination.host}/mirror/one:1",
        "RetryConfigs": _ONCE,
    }
    mirror = {
        "Repositories": [_entry(timing_out_host, destination), _entry(source.host, destination)],
        "Images": [image],
    }

    report = run_mirror(mirror, replicator=replicator)

    assert report.values()["Copied"] == str(len(TAGS))
    cause = f"cannot connect to {timing_out_host}: connection timed out"
    first, second = (each.error for each in report.failed)
    assert first.startswith(f"Repositories[0].SrcRepository: {cause}")
    assert second.startswith(f"Images[0].SrcImage: {cause}")


def test_the_message_names_an_unresponsive_destination(
    source: RegistryServer, stalled: FaultProxy, replicator: Replicator
) -> None:
    entry = {
        "SrcRepository": f"{source.host}/team/app",
        "DestRepository": f"{stalled.host}/mirror/app",
        "RetryConfigs": _ONCE,
    }

    report = run_mirror({"Repositories": [entry]}, replicator=replicator)

    assert report.values()["Failed"] == str(len(TAGS))
    assert report.failed[0].error.startswith(
        f"Repositories[0].DestRepository: cannot connect to {stalled.host}: connection timed out"
    )
