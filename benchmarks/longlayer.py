"""One long layer from a registry that caps each connection, as object stores do."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from benchmarks.images import MEBIBYTE
from benchmarks.memory import zeros
from benchmarks.programs import Skopeo, our_function
from benchmarks.registries import Network, Registry
from benchmarks.samples import Distribution
from benchmarks.scenery import TMPFS, new_scenery
from benchmarks.tables import markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.programs import Function

_SIZE_BYTES: Final = 512 * MEBIBYTE
_CAP_BYTES: Final = 48 * MEBIBYTE


def measure(repeats: int) -> dict[str, Distribution]:
    """Measure the copies of each program in turn, in wall seconds."""
    with (
        _prepared() as (ours, skopeo, registry),
        zeros([_SIZE_BYTES], bytes_per_second=_CAP_BYTES) as source,
    ):
        destination = registry.host(Network(tls=False, far=False))
        times: dict[str, list[float]] = {ours.name: [], skopeo.name: []}
        image = f"docker://{source}/zeros-{_SIZE_BYTES}:latest"
        for number in range(repeats):
            copy = f"docker://{destination}/copy-{number}"
            usage = ours.replicate({"SrcImage": image, "DestImage": f"{copy}/ours:latest"})
            times[ours.name].append(usage.wall_seconds)
            usage = skopeo.run(image, f"{copy}/skopeo:latest", tls=False)
            times[skopeo.name].append(usage.wall_seconds)
        return {name: Distribution.of(found) for name, found in times.items()}


def table(measured: dict[str, Distribution]) -> str:
    """Render the results."""
    alone = _SIZE_BYTES / _CAP_BYTES
    lines = [(name, str(each), f"{each.median / alone:.2f}") for name, each in measured.items()]
    title = f"### One layer of {_SIZE_BYTES // MEBIBYTE} MiB"
    cap = f"from connections that give {_CAP_BYTES // MEBIBYTE} MiB/s each"
    head = ("", "wall s", "of one connection's time")
    return f"{title}, {cap}\n\n{markdown_table(head, lines)}"


@contextlib.contextmanager
def _prepared() -> Iterator[tuple[Function, Skopeo, Registry]]:
    with (
        new_scenery(TMPFS) as scenery,
        Registry(scenery.directory / "registry", scenery.authority) as registry,
    ):
        ours = our_function(scenery.endpoint, scenery.ca_file, warm=True)
        try:
            yield ours, Skopeo(scenery.ca_file, scenery.directory / "skopeo.log"), registry
        finally:
            ours.close()
