"""Inject a fault at each request of a replication, one request per run.

Each registry has a separate test file, so that the tests run in parallel.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.fault_kinds import KINDS, FaultKind
from tests.faults.fault_proxy import Exchange, Fault, pass_on
from tests.faults.fault_scenes import Act, Choice, Scene
from tests.waiting import wait_until

from ecr_image_replicator.errors import ReplicationError

#: Faults that involve the registry behind the proxy.
REGISTRY_FAULT_KINDS = tuple(kind for kind in KINDS if kind.reaches_registry)


def only(number: int, kind: FaultKind) -> Choice:
    """Return a choice of this fault for one exchange."""

    def choose(exchange: Exchange) -> Fault:
        return kind.inject if exchange.number == number else pass_on

    return choose


def walk(scene: Scene, kind: FaultKind, endpoints: Sequence[str], act: Act | None = None) -> None:
    """Replicate once for each request that this fault can affect, and inject it there."""
    result, _ = scene.run()
    assert not isinstance(result, ReplicationError)
    requests = [
        (endpoint, number)
        for endpoint in endpoints
        for number, record in enumerate(getattr(scene, endpoint).exchanges)
        if kind.applies_to(record)
    ]
    assert requests
    for endpoint, number in requests:
        inject_at(scene, kind, endpoint, number, act)


def inject_at(scene: Scene, kind: FaultKind, endpoint: str, number: int, act: Act | None) -> None:
    """Replicate with the fault at one request and check for open upload sessions."""
    choice = only(number, kind)
    result, repository = scene.run(
        source=choice if endpoint == "source" else None,
        destination=choice if endpoint == "destination" else None,
        act=act,
    )
    exchanges = getattr(scene, endpoint).exchanges
    if number >= len(exchanges):
        # the number of existence checks depends on the order of threads: this run had fewer
        assert not isinstance(result, ReplicationError), result
        return
    hit = exchanges[number]
    where = f"{kind.name} at {endpoint} request {number}, {hit.method} {hit.target}"
    if kind.passes:
        assert not isinstance(result, ReplicationError), f"{where}: {result}"
    # an upload session whose location was lost with the response cannot be cancelled
    lost = int(kind.hides_response and hit.method == "POST")
    # docker-registry responds to a cancellation before it removes the session
    wait_until(
        lambda: scene.registry.open_uploads(repository) <= lost,
        lambda: (
            f"{where}: {scene.registry.open_uploads(repository)} upload sessions left: {result}"
        ),
    )
