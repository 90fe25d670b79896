"""Archives in S3 replicated by functions, and copied from a file by skopeo.

A loopback S3 serves the archives over HTTP and counts the bytes read.
"""

from __future__ import annotations

import contextlib
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from local.objects import ObjectStorage

from benchmarks import versions
from benchmarks.archive_files import (
    CASES,
    CHANGED,
    FORMATS,
    LAYERS,
    MISSING,
    NOISE,
    THERE,
    Archives,
    Case,
    build,
)
from benchmarks.functions import (
    OURS_WARM,
    cdk_ecr_deployment,
    our_function,
    write_insecure_registries,
)
from benchmarks.images import MEBIBYTE
from benchmarks.programs import CopyError, Skopeo
from benchmarks.registries import Network, Registry
from benchmarks.samples import shown
from benchmarks.shared_environment import TMPFS, new_shared_environment
from benchmarks.tables import goal_line, is_peer, limit_line, markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.functions import Function
    from benchmarks.report import Report
    from benchmarks.usage import Usage

    Program = Function | Skopeo

_PLAIN: Final = Network(tls=False, far=False)
_HEAD: Final = (
    "program",
    "wall s",
    "cpu s",
    "peak MiB",
    "bytes read of S3",
    "wall, of best peer",
    "cpu, of best peer",
)
#: Bytes of headers, manifest and config that are also read of an archive.
_MOST_OTHER_BYTES: Final = MEBIBYTE // 4
_MOST_CPU: Final = {MISSING: 0.4, NOISE: 0.6}
_MOST_WALL: Final = 0.5
_MOST_SECONDS_THERE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of some copies, and the highest peak.

    Attributes
    ----------
    failure
        The reason why the program cannot copy the archive.
    """

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    read_bytes: int = 0
    failure: str = ""

    @classmethod
    def of(cls, runs: Sequence[tuple[Usage, int]]) -> Figures:
        """Summarize the usage of at least one copy."""
        return cls(
            statistics.median(usage.wall_seconds for usage, _ in runs),
            statistics.median(usage.cpu_seconds for usage, _ in runs),
            max(usage.peak_bytes for usage, _ in runs),
            round(statistics.median(count for _, count in runs)),
        )


def run(report: Report, repeats: int, layer_bytes: int) -> None:
    """Measure each case with every program, and report it."""
    with _prepared(layer_bytes) as bench:
        for case in CASES:
            title = f"Archive, {case.name}"
            with report.attempt(title, bench.archives.folder):
                measured = bench.measure(case, repeats)
                size_bytes = bench.archives.path(case).stat().st_size
                about = f"{LAYERS} layers, {size_bytes:,} bytes"
                report.write(table(f"{title}: {about}", measured))
                changed_bytes = bench.archives.changed_bytes
                report.add_goals(*goal_lines(case, measured, size_bytes, changed_bytes))


def table(title: str, measured: Mapping[str, Figures]) -> str:
    """Render the figures of every program."""
    peers = _peers(measured)
    lines = []
    for program, each in measured.items():
        if each.failure:
            lines.append((program, each.failure, *[""] * (len(_HEAD) - 2)))
            continue
        wall = min((peer.wall_seconds for peer in peers), default=0.0)
        cpu = min((peer.cpu_seconds for peer in peers), default=0.0)
        lines.append(
            (
                program,
                shown(each.wall_seconds),
                shown(each.cpu_seconds),
                f"{each.peak_bytes / MEBIBYTE:.0f}",
                "" if program == versions.skopeo() else f"{each.read_bytes:,}",
                f"{each.wall_seconds / wall:.2f}" if wall else "",
                f"{each.cpu_seconds / cpu:.2f}" if cpu else "",
            )
        )
    return f"### {title}\n\n{markdown_table(_HEAD, lines)}"


def goal_lines(
    case: Case, measured: Mapping[str, Figures], size_bytes: int, changed_bytes: int
) -> Iterator[tuple[str, ...]]:
    """Compare the warm function with the goals of a case."""
    name, ours = f"archive, {case.name}", measured[OURS_WARM]
    if case.state == CHANGED:
        other_bytes = ours.read_bytes - changed_bytes
        text = f"{name}, bytes read beside the layer's {changed_bytes:,}"
        yield limit_line(text, other_bytes, _MOST_OTHER_BYTES, "bytes")
    elif case.state == THERE:
        yield limit_line(f"{name}, bytes read", ours.read_bytes, _MOST_OTHER_BYTES, "bytes")
        yield limit_line(f"{name}, wall", ours.wall_seconds, _MOST_SECONDS_THERE, "s")
    else:
        if case.format in FORMATS:
            yield goal_line(
                f"{name}, bytes read; beside its size", ours.read_bytes, size_bytes, 1.0
            )
        if peers := _peers(measured):
            cpu = min(each.cpu_seconds for each in peers)
            yield goal_line(f"{name}, cpu s", ours.cpu_seconds, cpu, _MOST_CPU[case.state])
            wall = min(each.wall_seconds for each in peers)
            yield goal_line(f"{name}, wall s", ours.wall_seconds, wall, _MOST_WALL)


def _peers(measured: Mapping[str, Figures]) -> list[Figures]:
    return [each for name, each in measured.items() if is_peer(name) and not each.failure]


@dataclass(frozen=True, slots=True)
class _Bench:
    archives: Archives
    storage: ObjectStorage
    registry: Registry
    programs: Sequence[Program]

    def measure(self, case: Case, repeats: int) -> dict[str, Figures]:
        """Copy with each program in turn."""
        runs: dict[str, list[tuple[Usage, int]]] = {each.name: [] for each in self.programs}
        failures: dict[str, str] = {}
        for number in range(repeats):
            for program in self.programs:
                # the peers read and compress everything in each state: one copy is enough
                is_enough = is_peer(program.name) and case.state in {THERE, CHANGED} and number
                if is_enough or program.name in failures:
                    continue
                try:
                    runs[program.name].append(self._measure(program, case, number))
                except CopyError as error:
                    if not is_peer(program.name):
                        raise
                    failures[program.name] = _reason(error)
        return {
            name: Figures(failure=failures[name]) if name in failures else Figures.of(found)
            for name, found in runs.items()
        }

    def warm_up(self) -> None:
        """Start the processes of the warm functions."""
        for program in self.programs:
            if program.name.endswith("warm"):
                self._copy(program, CASES[0], "warm-up")

    def _measure(self, program: Program, case: Case, number: int) -> tuple[Usage, int]:
        self.storage.clear_requests()
        usage = self._copy(program, case, f"{number}")
        return usage, self.storage.bytes_read

    def _copy(self, program: Program, case: Case, name: str) -> Usage:
        # the tag has the image of the previous case of this format
        folders = (program.name, case.format, name)
        repository = "/".join(each.replace(", ", "-").replace(" ", "-") for each in folders)
        destination = f"docker://{self.registry.host(_PLAIN)}/{repository.lower()}:latest"
        path = self.archives.path(case)
        if isinstance(program, Skopeo):
            return program.run(f"docker-archive:{path}", destination, tls=False)
        source = f"s3://{self.storage.bucket}/{path.name}"
        return program.replicate({"SrcImage": source, "DestImage": destination})


def _reason(error: Exception) -> str:
    """Format a failure for a table cell."""
    return "failed: " + str(error).splitlines()[0].replace("|", "/")[:120]


@contextlib.contextmanager
def _prepared(layer_bytes: int) -> Iterator[_Bench]:
    with contextlib.ExitStack() as opened:
        shared = opened.enter_context(new_shared_environment(TMPFS))
        folder, ca_file, endpoint = shared.directory, shared.ca_file, shared.endpoint
        storage = opened.enter_context(ObjectStorage())
        archives = build(folder, layer_bytes)
        for case in CASES:
            storage.put(case.file, archives.path(case))
        registry = opened.enter_context(Registry(folder / "registry", shared.authority))
        write_insecure_registries(folder, [registry.host(_PLAIN)])
        s3 = {
            "AWS_ENDPOINT_URL_S3": storage.url,
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_REGION": "eu-west-1",
        }
        functions = [
            our_function(endpoint, ca_file, warm=True, environment=s3),
            our_function(endpoint, ca_file, warm=False, environment=s3),
            cdk_ecr_deployment(endpoint, ca_file, folder, warm=True, environment=s3),
        ]
        for function in functions:
            opened.callback(function.close)
        skopeo = Skopeo(ca_file, folder / "skopeo.log")
        bench = _Bench(archives, storage, registry, [*functions, skopeo])
        bench.warm_up()
        yield bench
