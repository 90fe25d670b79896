"""One fault at one request after another, until each request of a replication was hit.

The walks are in a file for each registry behind the proxies, so that they run in parallel.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.fault_kinds import KINDS, FaultKind
from tests.faults.fault_proxy import Exchange, Fault, pass_on
from tests.faults.fault_scenes import Act, Choice, Scene
from tests.waiting import wait_until

from ecr_image_replicator.errors import ReplicationError

#: Those in which the registry behind the proxy takes part.
SEEN_KINDS = tuple(kind for kind in KINDS if kind.is_seen)


def only(number: int, kind: FaultKind) -> Choice:
    """Choose this fault for one exchange and none for all others."""

    def choose(exchange: Exchange) -> Fault:
        return kind.strike if exchange.number == number else pass_on

    return choose


def walk(scene: Scene, kind: FaultKind, endpoints: Sequence[str], act: Act | None = None) -> None:
    """Replicate once for each request that this fault can hit, and inject it there."""
    result, _ = scene.run()
    assert not isinstance(result, ReplicationError)
    requests = [
        (endpoint, number)
        for endpoint in endpoints
        for number, record in enumerate(getattr(scene, endpoint).exchanges)
        if kind.can_strike(record)
    ]
    assert requests
    for endpoint, number in requests:
        strike(scene, kind, endpoint, number, act)


def strike(scene: Scene, kind: FaultKind, endpoint: str, number: int, act: Act | None) -> None:
    """Replicate with the fault at one request, and check what it leaves behind."""
    choice = only(number, kind)
    result, repository = scene.run(
        source=choice if endpoint == "source" else None,
        destination=choice if endpoint == "destination" else None,
        act=act,
    )
    exchanges = getattr(scene, endpoint).exchanges
    if number >= len(exchanges):
        # the number of existence checks depends on the threads' order: this run needed fewer
        assert not isinstance(result, ReplicationError), result
        return
    hit = exchanges[number]
    where = f"{kind.name} at {endpoint} request {number}, {hit.method} {hit.target}"
    if kind.passes:
        assert not isinstance(result, ReplicationError), f"{where}: {result}"
    # nobody can cancel an upload session whose location was lost with the response
    lost = int(kind.hides_response and hit.method == "POST")
    # docker-registry responds to a cancellation before it has removed the session
    wait_until(
        lambda: scene.registry.open_uploads(repository) <= lost,
        lambda: (
            f"{where}: {scene.registry.open_uploads(repository)} upload sessions left: {result}"
        ),
    )
