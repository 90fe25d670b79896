"""An archive of hundreds of megabytes, replicated from S3 by this program and copied by skopeo.

Wall seconds, cpu seconds of the copying process alone, and its peak memory; both push to a
docker-registry on loopback of its own, which keeps its blobs in memory. This program reads the
archive from a stand-in of S3 over HTTP, skopeo from a file.

    python -m benchmarks.archive [--layers 6] [--layer-mib 100] [--content mixed] [--rounds 3]
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.archives import SavedImage, build_docker_save, build_large_layer
from local.objects import ObjectStorage

from benchmarks.tables import markdown_table

_READY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run took."""

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float


def main() -> None:
    """Measure, and print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--layer-mib", type=int, default=100)
    parser.add_argument("--content", choices=("random", "text", "mixed"), default="mixed")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    scratch = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - memory
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        sys.stdout.write(_measure(Path(folder), options))


def table(layer_mib: int, rounds: int) -> str:
    """Measure and render it: six layers, half of them random."""
    options = argparse.Namespace(layers=6, layer_mib=layer_mib, content="mixed", rounds=rounds)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        return _measure(Path(folder), options)


def _measure(folder: Path, options: argparse.Namespace) -> str:
    layers = [
        build_large_layer(folder / f"layer-{n}", options.layer_mib << 20, n, options.content)
        for n in range(options.layers)
    ]
    archive, changed = folder / "archive.tar", folder / "changed.tar"
    build_docker_save(archive, [SavedImage(layers, ["app:1"])])
    layers[-1] = build_large_layer(
        folder / "layer-new", options.layer_mib << 20, 100, options.content
    )
    build_docker_save(changed, [SavedImage(layers, ["app:1"])])
    size_mib = archive.stat().st_size / 2**20
    title = (
        f"### Archive: {options.layers} layers of {options.layer_mib} MiB, {options.content}: "
        f"{size_mib:.0f} MiB; medians of {options.rounds}\n\n"
    )
    with _storage({"archive.tar": archive, "changed.tar": changed}) as url:
        return title + _rounds(folder, url, archive, options.rounds)


def _rounds(folder: Path, url: str, archive: Path, rounds: int) -> str:
    taken: dict[str, list[Usage]] = {}
    for number in range(rounds):
        with _registry(folder / f"ours-{number}") as host:
            for case, key in (
                ("empty", "archive.tar"),
                ("there already", "archive.tar"),
                ("one layer changed", "changed.tar"),
            ):
                taken.setdefault(f"replicator, {case}", []).append(
                    _in_process(_replicate, url, key, host)
                )
        with _registry(folder / f"skopeo-{number}") as host:
            for case in ("empty", "there already"):
                taken.setdefault(f"skopeo, {case}", []).append(_skopeo(archive, host))
    return markdown_table(
        ("", "wall s", "cpu s", "peak MiB"), [_line(name, runs) for name, runs in taken.items()]
    )


def _line(name: str, runs: list[Usage]) -> tuple[str, ...]:
    wall = statistics.median(run.wall_seconds for run in runs)
    cpu = statistics.median(run.cpu_seconds for run in runs)
    peak = max(run.peak_mib for run in runs)
    return name, f"{wall:.2f}", f"{cpu:.2f}", f"{peak:.1f}"


def _replicate(url: str, key: str, host: str) -> None:
    """Replicate once, in a process of its own."""
    os.environ.update(
        AWS_ENDPOINT_URL_S3=url,
        AWS_ACCESS_KEY_ID="benchmark",
        AWS_SECRET_ACCESS_KEY="benchmark",  # noqa: S106 - opens nothing
        AWS_REGION="eu-west-1",
        AWS_DEFAULT_REGION="eu-west-1",
    )
    from replicator.deadline import Deadline  # noqa: PLC0415 - measured from here
    from replicator.progress import LoggedProgress  # noqa: PLC0415 - as above
    from replicator.replication import Replicator  # noqa: PLC0415 - as above
    from replicator.request import parse_request  # noqa: PLC0415 - as above
    from replicator.settings import Settings  # noqa: PLC0415 - as above

    replicator = Replicator(Settings(plain_http=(host,)))
    request = parse_request({"SrcImage": f"s3://archives/{key}", "DestImage": f"{host}/app:1"})
    replicator.replicate(request, deadline=Deadline(600), progress=LoggedProgress())


def _in_process(work: Callable[..., None], *arguments: Any) -> Usage:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(sender, work, arguments))
    process.start()
    usage: Usage = receiver.recv()
    process.join()
    return usage


def _measured(sender: Any, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    started_at = time.monotonic()
    work(*arguments)
    wall_seconds = time.monotonic() - started_at
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    sender.send(Usage(wall_seconds, cpu_seconds, after.ru_maxrss / 1024))


def _skopeo(archive: Path, host: str) -> Usage:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        sys.exit("skopeo is not installed")
    started_at = time.monotonic()
    process = subprocess.Popen(
        [
            *(skopeo, "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"),
            *(f"docker-archive:{archive}", f"docker://{host}/app:1"),
        ]
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit("skopeo failed")
    process.returncode = 0
    return Usage(
        time.monotonic() - started_at, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    )


@contextlib.contextmanager
def _storage(objects: dict[str, Path]) -> Iterator[str]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender, objects), daemon=True)
    process.start()
    try:
        yield receiver.recv()
    finally:
        process.terminate()
        process.join()


def _serve(sender: Any, objects: dict[str, Path]) -> None:
    with ObjectStorage() as storage:
        for key, path in objects.items():
            storage.put(key, path)
        sender.send(storage.url)
        time.sleep(3600)


@contextlib.contextmanager
def _registry(root: Path) -> Iterator[str]:
    program = shutil.which("docker-registry")
    if program is None:
        sys.exit("docker-registry is not installed")
    with socket.create_server(("127.0.0.1", 0)) as found:
        host = f"127.0.0.1:{found.getsockname()[1]}"
    configuration = root.with_suffix(".yml")
    configuration.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\n"
        f"http: {{addr: {host}}}\n"
    )
    process = subprocess.Popen(
        [program, "serve", str(configuration)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(host)
        yield host
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(root, ignore_errors=True)


def _await(host: str) -> None:
    name, _, port = host.partition(":")
    until = time.monotonic() + _READY_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection((name, int(port)), 1):
            return
        time.sleep(0.02)
    sys.exit("docker-registry did not start")


if __name__ == "__main__":
    main()
