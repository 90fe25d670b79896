"""Response times of a new and of a warm process, with and without a CPU limit.

The measurement starts with the event for which the emulator starts the function's process. The
image is small, so that most of a first response is the start. `there` and `missing` are at a
registry over TLS; `ECR` is a destination in a local ECR behind a proxy, for which boto3 is loaded.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.aws import LoopbackAws
from local.certificates import CertificateAuthority

from benchmarks import artifact
from benchmarks.functions import OURS_NEW, cdk_ecr_deployment, our_function
from benchmarks.images import MEBIBYTE, ImageSeries
from benchmarks.programs import launch
from benchmarks.quota import MEMORY_MEGABYTES, SHARE, CpuQuota, QuotaUnavailableError
from benchmarks.registries import Network, Registry
from benchmarks.rows import SMALL
from benchmarks.samples import Distribution, shown
from benchmarks.shared_environment import TMPFS, new_shared_environment
from benchmarks.tables import goal_line, limit_line, markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.functions import Function
    from benchmarks.report import Report
    from benchmarks.shared_environment import SharedEnvironment
    from benchmarks.usage import Usage

BOTO3: Final = "python -c 'import boto3'"
CASES: Final = ("there", "missing", "ECR, there", "ECR, missing")
LIMITED: Final = f"{SHARE} of a core, as Lambda gives at {MEMORY_MEGABYTES} MB"
_NETWORK: Final = Network(tls=True, far=False)
_MOST_CPU_SECONDS: Final = 0.30
_MOST_OF_IMPORT: Final = 2.0
_HEAD: Final = ("case", "program", "wall s", "cpu s", "cpu, of the import", "peak MiB")


@dataclass(frozen=True, slots=True)
class Start:
    """All responses of one program in one case."""

    case: str
    program: str
    wall_seconds: Distribution
    cpu_seconds: Distribution
    peak_bytes: int

    @classmethod
    def of(cls, case: str, program: str, usages: Sequence[Usage]) -> Start:
        """Summarize at least one response."""
        return cls(
            case,
            program,
            Distribution.of(each.wall_seconds for each in usages),
            Distribution.of(each.cpu_seconds for each in usages),
            max(each.peak_bytes for each in usages),
        )


def run(report: Report, repeats: int) -> None:
    """Measure without a limit and with one, and report both."""
    title = "First response of a new process, and a warm one's"
    with report.attempt(title):
        starts = measure(repeats)
        report.write(table(title, starts))
        report.add_goals(*goal_lines(starts))
    title = f"{title}, {LIMITED}"
    with report.attempt(title):
        try:
            with CpuQuota() as quota:
                starts = measure(repeats, quota.command)
                quota.check()
        except QuotaUnavailableError as error:
            report.write(f"### {title}\n\nAbsent on this machine: {error}\n")
        else:
            report.write(table(title, starts))


def measure(repeats: int, command: tuple[str, ...] = ()) -> list[Start]:
    """Measure every program in every case alternately.

    Parameters
    ----------
    command
        The prefix of each process's command, such as `CpuQuota.command`.
    """
    usages: dict[tuple[str, str], list[Usage]] = {("", BOTO3): []}
    with _prepared(command) as bench:
        for case, function in bench.functions():
            usages[case, function.name] = []
            function.replicate(bench.properties(case))
        for _ in range(repeats):
            usages["", BOTO3].append(bench.import_boto3())
            for case, function in bench.functions():
                properties = bench.properties(case)
                usages[case, function.name].append(function.replicate(properties))
    return [Start.of(case, name, found) for (case, name), found in usages.items()]


def table(title: str, starts: Sequence[Start]) -> str:
    """Render the results."""
    base = _import(starts).cpu_seconds.median
    lines = [
        (
            each.case,
            each.program,
            str(each.wall_seconds),
            str(each.cpu_seconds),
            shown(each.cpu_seconds.median / base),
            f"{each.peak_bytes / MEBIBYTE:.0f}",
        )
        for each in starts
    ]
    return f"### {title}\n\n{markdown_table(_HEAD, lines)}"


def goal_lines(starts: Sequence[Start]) -> Iterator[tuple[str, ...]]:
    """Compare the start for an existing image with the goals."""
    (ours,) = (each for each in starts if (each.case, each.program) == ("there", OURS_NEW))
    found, base = ours.cpu_seconds.median, _import(starts).cpu_seconds.median
    yield limit_line("first response of a new process, cpu", found, _MOST_CPU_SECONDS, "s")
    yield goal_line(
        "first response of a new process, cpu s; beside importing boto3",
        found,
        base,
        _MOST_OF_IMPORT,
    )


def _import(starts: Sequence[Start]) -> Start:
    return next(each for each in starts if each.program == BOTO3)


class _Bench:
    """The functions of each case with new images."""

    def __init__(
        self,
        shared: SharedEnvironment,
        aws: LoopbackAws,
        registries: tuple[Registry, Registry],
        command: tuple[str, ...],
    ) -> None:
        self._directory = shared.directory
        self._aws = aws
        self._source, self._destination = registries
        self._series = ImageSeries(SMALL, *registries)
        self._command = command
        ca_file = shared.directory / "all-ca.pem"
        ca_file.write_text(shared.ca_file.read_text() + aws.authority.ca_file.read_text())
        trusted = {"AWS_CA_BUNDLE": str(ca_file), "REQUESTS_CA_BUNDLE": str(ca_file)}
        variables = {**aws.environment, **trusted, "SSL_CERT_FILE": str(ca_file)}
        self._of_registry = self._functions(shared, ca_file, command, {})
        self._of_ecr = self._functions(shared, ca_file, command, variables)
        # copies the existing image, so that no measured process has it in its cache
        self._other = our_function(shared.endpoint, ca_file, warm=True, environment=variables)

    def functions(self) -> Iterator[tuple[str, Function]]:
        """Iterate over the cases, each with every program."""
        yield from itertools.product(CASES[:2], self._of_registry)
        yield from itertools.product(CASES[2:], self._of_ecr)

    def properties(self, case: str) -> dict[str, str]:
        """Publish a new image and return resource properties for copying it."""
        state = "there" if case == "there" else "missing"
        image = self._series.publish(state).repository
        source = f"docker://{self._source.host(_NETWORK)}/{image}:latest"
        if not case.startswith("ECR"):
            destination = f"docker://{self._destination.host(_NETWORK)}/{image}:latest"
            return {"SrcImage": source, "DestImage": destination}
        ecr = self._aws.ecr()
        ecr.create_repository(image)
        properties = {"SrcImage": source, "DestImage": f"docker://{ecr.host}/{image}:latest"}
        if case == "ECR, there":
            self._other.replicate(properties)
        return properties

    def import_boto3(self) -> Usage:
        """Import boto3 from the layer in a new process, under the same limit."""
        command = [*self._command, str(artifact.PYTHON), "-c", "import boto3"]
        return launch(command, artifact.environment(), self._directory / "import.log")

    def close(self) -> None:
        """Stop every process."""
        for function in (*self._of_registry, *self._of_ecr, self._other):
            function.close()

    def _functions(
        self,
        shared: SharedEnvironment,
        ca_file: Path,
        command: tuple[str, ...],
        environment: Mapping[str, str],
    ) -> list[Function]:
        endpoint, folder = shared.endpoint, shared.directory
        found = []
        for warm in (False, True):
            found += [
                our_function(
                    endpoint, ca_file, warm=warm, environment=environment, command=command
                ),
                cdk_ecr_deployment(
                    endpoint, ca_file, folder, warm=warm, environment=environment, command=command
                ),
            ]
        return found


@contextlib.contextmanager
def _prepared(command: tuple[str, ...]) -> Iterator[_Bench]:
    with contextlib.ExitStack() as opened:
        shared = opened.enter_context(new_shared_environment(TMPFS))
        folder = shared.directory
        (folder / "registries.conf").write_text("")
        authority = CertificateAuthority(folder)
        aws = opened.enter_context(LoopbackAws(authority=authority))
        registries = (
            opened.enter_context(Registry(folder / "source", shared.authority)),
            opened.enter_context(Registry(folder / "destination", shared.authority)),
        )
        bench = _Bench(shared, aws, registries, command)
        opened.callback(bench.close)
        yield bench
