"""An archive in S3 replicated by functions, and copied from a file by skopeo.

The layers hold this machine's own programs and libraries, as images do. A stand-in for S3 serves
the archive over HTTP and counts what is read. `missing` has nothing of the image at the
destination, `there` has the image under the tag, and in `changed` one of the layers is new.
`incompressible` is `missing` with layers of random bytes: what models, media and packages are to a
compressor.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import statistics
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.archives import LayerFile, SavedImage, build_docker_save, build_large_layer
from local.objects import ObjectStorage
from local.registry.digests import Digest

from benchmarks.images import MEBIBYTE
from benchmarks.programs import (
    PEER,
    Skopeo,
    cdk_ecr_deployment,
    our_function,
    write_insecure_registries,
)
from benchmarks.registries import Network, Registry
from benchmarks.scenery import TMPFS, new_scenery
from benchmarks.tables import goal_line, markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.programs import Function
    from benchmarks.usage import Usage

_LAYERS: Final = 6
_LAYER_BYTES: Final = 100 * MEBIBYTE
_ARCHIVES: Final = {
    "missing": "first.tar",
    "there": "first.tar",
    "changed": "second.tar",
    "incompressible": "random.tar",
}
_PLAIN: Final = Network(tls=False, far=False)
_OURS: Final = "ours, warm"
_PEERS: Final = "cdk-ecr-deployment, warm"
_HEAD: Final = ("", "wall s", "cpu s", "peak MiB", "MiB read of S3")


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of some copies, and the highest peak."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    read_bytes: float
    archive_bytes: int

    @classmethod
    def of(cls, runs: Sequence[tuple[Usage, int]], archive_bytes: int) -> Figures:
        """Summarise the usage of some copies."""
        return cls(
            statistics.median(usage.wall_seconds for usage, _ in runs),
            statistics.median(usage.cpu_seconds for usage, _ in runs),
            max(usage.peak_bytes for usage, _ in runs),
            statistics.median(count for _, count in runs),
            archive_bytes,
        )


Measured = dict[tuple[str, str], Figures]
"""Results by case and program."""


def measure(repeats: int) -> Measured:
    """Copy in every case with every available program."""
    with _prepared() as bench:
        found = {}
        for program in bench.programs:
            for case, runs in bench.measure(program, repeats).items():
                found[case, program.name] = Figures.of(runs, bench.archive_bytes(case))
    return found


def table(measured: Measured) -> str:
    """Render the results."""
    lines = [
        (
            f"{program}, {case}",
            f"{each.wall_seconds:.2f}",
            f"{each.cpu_seconds:.2f}",
            f"{each.peak_bytes / MEBIBYTE:.0f}",
            "" if program == Skopeo.name else f"{each.read_bytes / MEBIBYTE:.1f}",
        )
        for (case, program), each in sorted(measured.items())
    ]
    title = f"### Archive of {_LAYERS} layers of {_LAYER_BYTES // MEBIBYTE} MiB or a little more"
    return f"{title}\n\n{markdown_table(_HEAD, lines)}"


def goal_lines(measured: Measured) -> list[tuple[str, ...]]:
    """Compare the function with the goals, and with the other function where it was measured."""
    there, changed = measured["there", _OURS], measured["changed", _OURS]
    read_bytes, all_bytes = measured["missing", _OURS].read_bytes, there.archive_bytes
    lines = [
        goal_line("archive, missing, bytes read; beside its size", read_bytes, all_bytes, 1.0),
        goal_line("archive, there, bytes read; beside a MiB", there.read_bytes, MEBIBYTE, 1.0),
        goal_line("archive, there, wall s; beside a second", there.wall_seconds, 1.0, 0.1),
        # a layer is a little more than a sixth, as its last file goes past the end
        goal_line(
            "archive, one layer of six changed, bytes read", changed.read_bytes, all_bytes, 0.2
        ),
    ]
    for case in ("missing", "incompressible"):
        if (peer := measured.get((case, _PEERS))) is not None:
            ours = measured[case, _OURS]
            lines += [
                goal_line(f"archive, {case}, cpu s", ours.cpu_seconds, peer.cpu_seconds, 0.4),
                goal_line(f"archive, {case}, wall s", ours.wall_seconds, peer.wall_seconds, 0.5),
            ]
    return lines


@dataclass(frozen=True, slots=True)
class _Bench:
    folder: Path
    storage: ObjectStorage
    registry: Registry
    programs: Sequence[Function | Skopeo]

    def archive_bytes(self, case: str) -> int:
        return (self.folder / _ARCHIVES[case]).stat().st_size

    def measure(
        self, program: Function | Skopeo, repeats: int
    ) -> dict[str, list[tuple[Usage, int]]]:
        taken: dict[str, list[tuple[Usage, int]]] = {case: [] for case in _ARCHIVES}
        if program.name in {_OURS, _PEERS}:
            self._copy(program, "there", "warm-up")
        for repeat, case in itertools.product(range(repeats), _ARCHIVES):
            self.storage.clear_requests()
            usage = self._copy(program, case, f"{repeat}")
            taken[case].append((usage, self.storage.bytes_read))
        return taken

    def _copy(self, program: Function | Skopeo, case: str, name: str) -> Usage:
        folder = program.name.replace(", ", "-").replace(" ", "-")
        destination = f"docker://{self.registry.host(_PLAIN)}/{folder}/{name}:latest"
        archive = _ARCHIVES[case]
        if isinstance(program, Skopeo):
            return program.run(f"docker-archive:{self.folder / archive}", destination, tls=False)
        source = f"s3://{self.storage.bucket}/{archive}"
        return program.replicate({"SrcImage": source, "DestImage": destination})


@contextlib.contextmanager
def _prepared() -> Iterator[_Bench]:
    with contextlib.ExitStack() as opened:
        scenery = opened.enter_context(new_scenery(TMPFS))
        folder, ca_file, endpoint = scenery.directory, scenery.ca_file, scenery.endpoint
        storage = opened.enter_context(ObjectStorage())
        for path in _build(folder):
            storage.put(path.name, path)
        registry = opened.enter_context(Registry(folder / "registry", scenery.authority))
        write_insecure_registries(folder, [registry.host(_PLAIN)])
        s3 = {
            "AWS_ENDPOINT_URL_S3": storage.url,
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_REGION": "eu-west-1",
        }
        functions = [
            our_function(endpoint, ca_file, warm=warm, environment=s3) for warm in (True, False)
        ]
        if PEER.exists():
            functions.append(
                cdk_ecr_deployment(PEER, endpoint, ca_file, folder, warm=True, environment=s3)
            )
        for function in functions:
            opened.callback(function.close)
        skopeo = Skopeo(ca_file, folder / "skopeo.log")
        yield _Bench(folder, storage, registry, [*functions, skopeo])


def _build(folder: Path) -> Iterator[Path]:
    """Write an archive, one of which the last layer differs, and one that does not compress."""
    files = _files()
    layers = [_build_layer(folder / f"{number}", files) for number in range(_LAYERS + 1)]
    changed = [*layers[: _LAYERS - 1], layers[_LAYERS]]
    yield build_docker_save(folder / "first.tar", [SavedImage(layers[:_LAYERS], ["app:1"])])
    yield build_docker_save(folder / "second.tar", [SavedImage(changed, ["app:1"])])
    noise = [
        build_large_layer(each.path, _LAYER_BYTES, number, "random")
        for number, each in enumerate(layers[:_LAYERS])
    ]
    yield build_docker_save(folder / "random.tar", [SavedImage(noise, ["app:1"])])
    for layer in layers:
        layer.path.unlink()


def _files() -> Iterator[Path]:
    """Iterate over files such as images have, again and again."""
    roots = [Path(name) for name in ("/usr/lib", "/usr/bin", "/usr/share", sys.prefix)]
    for root in itertools.cycle(roots):
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path


def _build_layer(path: Path, files: Iterator[Path]) -> LayerFile:
    left_bytes = _LAYER_BYTES
    with tarfile.open(path, "w") as tar:
        while left_bytes > 0:
            file = next(files)
            tar.add(file)
            left_bytes -= file.stat().st_size
    with path.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return LayerFile(path, Digest(f"sha256:{digest}"))


def main() -> None:
    """Measure archives alone."""
    measured = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    sys.stdout.write(table(measured))
    for line in goal_lines(measured):
        sys.stdout.write(f"{'  '.join(line)}\n")


if __name__ == "__main__":
    main()
