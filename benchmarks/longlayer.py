"""One long layer from a registry that limits the rate of each connection, as object stores do."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Final

from benchmarks.functions import cdk_ecr_deployment, our_function, write_insecure_registries
from benchmarks.images import MEBIBYTE
from benchmarks.memory import zeros
from benchmarks.programs import Skopeo
from benchmarks.registries import Network, Registry
from benchmarks.samples import Distribution
from benchmarks.shared_environment import TMPFS, new_shared_environment
from benchmarks.tables import markdown_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.functions import Function
    from benchmarks.report import Report
    from benchmarks.usage import Usage

    Copy = Callable[[str, str], Usage]

#: A shorter one is read by one connection for much of its length.
_SIZE_BYTES: Final = 512 * MEBIBYTE
_CAP_BYTES: Final = 48 * MEBIBYTE
_TITLE: Final = (
    f"One layer of {_SIZE_BYTES // MEBIBYTE} MiB, "
    f"from connections that give {_CAP_BYTES // MEBIBYTE} MiB/s each"
)


def run(report: Report, repeats: int) -> None:
    """Measure and report the table."""
    with report.attempt(_TITLE):
        report.write(table(measure(repeats)))


def measure(repeats: int) -> dict[str, Distribution]:
    """Measure the copies of each program in turn, in wall seconds."""
    with _prepared() as (programs, source, destination):
        times: dict[str, list[float]] = {name: [] for name in programs}
        for number in range(repeats):
            for position, (name, copy) in enumerate(programs.items()):
                image = f"docker://{source}/zeros-{_SIZE_BYTES}:latest"
                usage = copy(image, f"docker://{destination}/copy-{number}/{position}:latest")
                times[name].append(usage.wall_seconds)
        return {name: Distribution.of(found) for name, found in times.items()}


def table(measured: dict[str, Distribution]) -> str:
    """Render the results."""
    alone = _SIZE_BYTES / _CAP_BYTES
    lines = [(name, str(each), f"{each.median / alone:.2f}") for name, each in measured.items()]
    head = ("program", "wall s", "of one connection's time")
    return f"### {_TITLE}\n\n{markdown_table(head, lines)}"


@contextlib.contextmanager
def _prepared() -> Iterator[tuple[dict[str, Copy], str, str]]:
    """Yield the copy function of each program and the hosts of source and destination."""
    with contextlib.ExitStack() as opened:
        shared = opened.enter_context(new_shared_environment(TMPFS))
        folder, ca_file, endpoint = shared.directory, shared.ca_file, shared.endpoint
        registry = opened.enter_context(Registry(folder / "registry", shared.authority))
        source = opened.enter_context(zeros([_SIZE_BYTES], bytes_per_second=_CAP_BYTES))
        destination = registry.host(Network(tls=False, far=False))
        write_insecure_registries(folder, [source, destination])
        skopeo = Skopeo(ca_file, folder / "skopeo.log")
        programs: dict[str, Copy] = {}
        for function in (
            our_function(endpoint, ca_file, warm=True),
            cdk_ecr_deployment(endpoint, ca_file, folder, warm=True),
        ):
            opened.callback(function.close)
            programs[function.name] = functools.partial(_replicate, function)
        programs[skopeo.name] = lambda image, copy: skopeo.run(image, copy, tls=False)
        yield programs, source, destination


def _replicate(function: Function, source: str, destination: str) -> Usage:
    return function.replicate({"SrcImage": source, "DestImage": destination})
