"""Three repositories of tags that share layers, copied by ``mirror`` and by ``skopeo sync``.

Both registries are docker-registry, 20 ms away. A first run copies everything, a second finds
no changes. Requests are counted in the registries' access logs; GETs of manifests count
as pulls. skopeo takes minutes, mostly for round trips, so it runs only once.
"""

from __future__ import annotations

import contextlib
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from local.images import build_image, build_layer, push

from benchmarks.images import MEBIBYTE
from benchmarks.programs import CommandLine, Skopeo
from benchmarks.registries import Network, Registry
from benchmarks.samples import shown
from benchmarks.shared_environment import TMPFS, new_shared_environment
from benchmarks.tables import goal_line, limit_line, markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.registries import Access
    from benchmarks.report import Report
    from benchmarks.usage import Usage

_FAR: Final = Network(tls=False, far=True)
_NEAR: Final = Network(tls=False, far=False)
_REPOSITORIES: Final = 3
_OURS: Final = CommandLine.name
_EMPTY: Final = "from empty"
_UNCHANGED: Final = "unchanged"
_HEAD: Final = (
    "program",
    "wall s",
    "cpu s",
    "peak MiB",
    "requests at the source",
    "of them pulls",
    "requests at the destination",
    "wall, of skopeo's",
    "requests at the destination, of skopeo's",
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a program over all repositories."""

    program: str
    state: str
    usage: Usage
    source_requests: int
    pulls: int
    destination_requests: int


def run(report: Report, repeats: int, tags_count: int) -> None:
    """Measure and report the table and the goals."""
    title = (
        f"Mirror of {_REPOSITORIES} repositories of {tags_count} tags that share layers, "
        f"{_FAR.name}"
    )
    with report.attempt(title), _prepared(_tags(tags_count)) as bench:
        one_image = bench.copy_one_image()
        runs = list(bench.measure(repeats))
        report.write(table(title, runs, one_image))
        report.add_goals(*goal_lines(runs, one_image, tags_count * _REPOSITORIES))


def table(title: str, runs: Sequence[Run], one_image: Usage) -> str:
    """Render the medians of each program and state, and a copy of one image."""
    found = medians(runs)
    lines: list[tuple[str, ...]] = []
    for each in found:
        (peer,) = (other for other in found if other.state == each.state and _is_peer(other))
        lines.append(
            (
                f"{each.program}, {each.state}",
                shown(each.usage.wall_seconds),
                shown(each.usage.cpu_seconds),
                f"{each.usage.peak_bytes / MEBIBYTE:.0f}",
                f"{each.source_requests:,}",
                f"{each.pulls:,}",
                f"{each.destination_requests:,}",
                f"{each.usage.wall_seconds / peer.usage.wall_seconds:.3f}",
                f"{each.destination_requests / peer.destination_requests:.2f}",
            )
        )
    alone = (shown(one_image.wall_seconds), shown(one_image.cpu_seconds))
    peak = f"{one_image.peak_bytes / MEBIBYTE:.0f}"
    lines.append((f"{_OURS}, copy of one image", *alone, peak, *[""] * 5))
    return f"### {title}\n\n{markdown_table(_HEAD, lines)}"


def goal_lines(
    runs: Sequence[Run], one_image: Usage, images_count: int
) -> Iterator[tuple[str, ...]]:
    """Compare the runs with the goals."""
    found = {(_is_peer(each), each.state): each for each in medians(runs)}
    empty, peers_empty = found[False, _EMPTY], found[True, _EMPTY]
    unchanged, peers_unchanged = found[False, _UNCHANGED], found[True, _UNCHANGED]
    yield goal_line(
        "mirror, from empty, wall s",
        empty.usage.wall_seconds,
        peers_empty.usage.wall_seconds,
        0.1,
    )
    yield goal_line(
        "mirror, from empty, requests at the destination",
        empty.destination_requests,
        peers_empty.destination_requests,
        0.4,
    )
    yield goal_line(
        "mirror, unchanged, wall s",
        unchanged.usage.wall_seconds,
        peers_unchanged.usage.wall_seconds,
        0.05,
    )
    # one request per tag, and one list of tags for each repository
    most = images_count + _REPOSITORIES
    yield limit_line(
        "mirror, unchanged, requests at the source", unchanged.source_requests, most, "requests"
    )
    yield limit_line("mirror, unchanged, pulls", unchanged.pulls, 0, "pulls")
    peak = max(each.usage.peak_bytes for each in (empty, unchanged))
    yield goal_line(
        "mirror, peak MiB; beside a copy of one image",
        peak / MEBIBYTE,
        one_image.peak_bytes / MEBIBYTE,
        1.1,
    )


def medians(runs: Sequence[Run]) -> list[Run]:
    """Return the run with the median time of each program and state, and the highest peak."""
    found = []
    for program, state in dict.fromkeys((each.program, each.state) for each in runs):
        same = [each for each in runs if (each.program, each.state) == (program, state)]
        by_time = sorted(same, key=lambda each: each.usage.wall_seconds)
        middle = by_time[(len(by_time) - 1) // 2]
        usage = type(middle.usage)(
            statistics.median(each.usage.wall_seconds for each in same),
            statistics.median(each.usage.cpu_seconds for each in same),
            max(each.usage.peak_bytes for each in same),
        )
        found.append(
            Run(
                program,
                state,
                usage,
                middle.source_requests,
                middle.pulls,
                middle.destination_requests,
            )
        )
    return found


def count_pulls(accesses: Sequence[Access]) -> int:
    """Count pulls as registries with a pull limit do: GET requests of manifests."""
    return sum(each.method == "GET" and "/manifests/" in each.path for each in accesses)


def _is_peer(found: Run) -> bool:
    return found.program != _OURS


def _tags(count: int) -> list[str]:
    return [f"1.{number // 7}.{number % 7}" for number in range(count)]


class _Bench:
    def __init__(
        self,
        directory: Path,
        registries: tuple[Registry, Registry],
        programs: tuple[CommandLine, Skopeo],
        tags: Sequence[str],
    ) -> None:
        self._directory = directory
        self._source, self._destination = registries
        self._ours, self._skopeo = programs
        self._tags = tags

    def push(self) -> None:
        """Push images that share their lower layers within a repository."""
        for repository in range(_REPOSITORIES):
            base = [build_layer(60_000, seed=repository * 10 + each) for each in range(3)]
            for number, tag in enumerate(self._tags):
                top = build_layer(20_000, seed=1000 * (repository + 1) + number)
                image = build_image([*base, top])
                push(image, self._source.host(_NEAR), f"team/app{repository}", tag)

    def copy_one_image(self) -> Usage:
        """Copy one image with the command line, to measure its memory."""
        source = f"docker://{self._source.host(_FAR)}/team/app0:{self._tags[0]}"
        destination = f"docker://{self._destination.host(_FAR)}/one/app0:{self._tags[0]}"
        return self._ours.run("copy", "--quiet", source, destination)

    def measure(self, repeats: int) -> Iterator[Run]:
        """Run both programs alternately, first with an empty destination, then unchanged."""
        for state in (_EMPTY, _UNCHANGED):
            for number in range(repeats):
                yield self._measure(self._ours, state, number)
                if number == 0:
                    yield self._measure(self._skopeo, state, number)

    def _measure(self, program: CommandLine | Skopeo, state: str, number: int) -> Run:
        for registry in (self._source, self._destination):
            registry.take_log(_NEAR)
        if isinstance(program, Skopeo):
            usage = self._run_skopeo(program)
        else:
            usage = self._run_ours(program, number)
        asked = self._source.take_log(_NEAR)
        pushed = self._destination.take_log(_NEAR)
        return Run(program.name, state, usage, len(asked), count_pulls(asked), len(pushed))

    def _run_ours(self, program: CommandLine, number: int) -> Usage:
        file = self._directory / "mirror.yaml"
        file.write_text(
            "Repositories:\n"
            + "".join(
                f"  - SrcRepository: {self._source.host(_FAR)}/team/app{repository}\n"
                f"    DestRepository: {self._destination.host(_FAR)}/ours{number}/{{path}}\n"
                for repository in range(_REPOSITORIES)
            )
        )
        state = self._directory / f"state-{number}.json"
        return program.run("mirror", str(file), "--quiet", "--state", str(state))

    def _run_skopeo(self, program: Skopeo) -> Usage:
        file = self._directory / "skopeo.yaml"
        file.write_text(
            f"{self._source.host(_FAR)}:\n  tls-verify: false\n  images:\n"
            + "".join(f"    team/app{repository}: []\n" for repository in range(_REPOSITORIES))
        )
        return program.sync(file, f"{self._destination.host(_FAR)}/skopeo")


@contextlib.contextmanager
def _prepared(tags: Sequence[str]) -> Iterator[_Bench]:
    with contextlib.ExitStack() as opened:
        shared = opened.enter_context(new_shared_environment(TMPFS))
        folder, ca_file = shared.directory, shared.ca_file
        source, destination = (
            opened.enter_context(Registry(folder / name, shared.authority))
            for name in ("source", "destination")
        )
        ours = CommandLine(ca_file, folder / "command-line.log", plain_http="127.0.0.1")
        skopeo = Skopeo(ca_file, folder / "skopeo.log")
        bench = _Bench(folder, (source, destination), (ours, skopeo), tags)
        bench.push()
        yield bench
