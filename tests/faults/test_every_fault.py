from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from local.cloudformation import CloudFormationEndpoint
from tests.faults.fault_kinds import KINDS, FaultKind
from tests.faults.fault_proxy import Exchange, Fault, pass_on
from tests.faults.fault_scenes import (
    PATIENT_SECONDS,
    STALL_SECONDS,
    Act,
    Choice,
    Scene,
    answering,
)

from ecr_image_replicator.errors import ReplicationError


def only(number: int, kind: FaultKind) -> Choice:
    def choose(exchange: Exchange) -> Fault:
        return kind.strike if exchange.number == number else pass_on

    return choose


def walk(scene: Scene, kind: FaultKind, endpoints: Sequence[str], act: Act | None = None) -> None:
    """Let one fault strike each request in turn."""
    result, _ = scene.run(stall_seconds=PATIENT_SECONDS)
    assert not isinstance(result, ReplicationError)
    meant = [
        (side, number)
        for side in endpoints
        for number, record in enumerate(getattr(scene, side).exchanges)
        if kind.can_strike(record)
    ]
    assert meant
    for side, number in meant:
        strike(scene, kind, side, number, act)


def strike(scene: Scene, kind: FaultKind, side: str, number: int, act: Act | None) -> None:
    choice = only(number, kind)
    result, repository = scene.run(
        source=choice if side == "source" else None,
        destination=choice if side == "destination" else None,
        act=act,
        # impatience would add requests of its own where the machine is busy
        stall_seconds=STALL_SECONDS if kind.stalls else PATIENT_SECONDS,
    )
    exchanges = getattr(scene, side).exchanges
    if number >= len(exchanges):
        # streams race for the probes of a registry: this run needed fewer, and nothing was struck
        assert not isinstance(result, ReplicationError), result
        return
    struck = exchanges[number]
    where = f"{kind.name} at {side} request {number}, {struck.method} {struck.target}"
    if kind.passes:
        assert not isinstance(result, ReplicationError), f"{where}: {result}"
    # an upload whose address never arrived is nobody's to cancel
    unknown = int(kind.keeps_answer and struck.method == "POST")
    left = scene.registry.open_uploads(repository)
    until = time.monotonic() + 5
    while left > unknown and time.monotonic() < until:
        time.sleep(0.05)  # docker-registry answers a cancellation before it is done with it
        left = scene.registry.open_uploads(repository)
    assert left <= unknown, f"{where}: {left} uploads left open: {result}"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_fault_at_any_request_hangs_or_half_moves(
    local_scene: Scene, endpoint: CloudFormationEndpoint, kind: FaultKind
) -> None:
    walk(local_scene, kind, ("source", "destination"), answering(endpoint))


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.is_seen], ids=lambda kind: kind.name
)
def test_no_fault_before_docker_registry_hangs_or_half_moves(
    docker_scene: Scene, kind: FaultKind
) -> None:
    walk(docker_scene, kind, ("destination",))


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.is_seen], ids=lambda kind: kind.name
)
def test_no_fault_before_ecr_hangs_or_half_moves(ecr_scene: Scene, kind: FaultKind) -> None:
    walk(ecr_scene, kind, ("destination",))
