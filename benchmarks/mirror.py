"""``python -m benchmarks.mirror``: three repositories of 112 tags, beside ``skopeo sync``.

Both registries are docker-registry, 20 ms away. A first run copies everything, a second finds
nothing to do. Requests are counted in the registries' access logs; those of manifests by GET count
as pulls.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trustme
from local.images import build_image, build_layer, push

from benchmarks.registries import Network, Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.registries import Access

FAR: Final = Network(tls=False, far=True)
NEAR: Final = Network(tls=False, far=False)
REPOSITORIES: Final = 3
TAGS: Final = tuple(f"1.{minor}.{patch}" for minor in range(16) for patch in range(7))


def push_tags(source: Registry) -> None:
    """Push images whose lower layers are shared by a repository."""
    for repository in range(REPOSITORIES):
        base = [build_layer(60_000, seed=repository * 10 + each) for each in range(3)]
        for number, tag in enumerate(TAGS):
            image = build_image([*base, build_layer(20_000, seed=1000 * repository + number)])
            push(image, source.host(NEAR), f"team/app{repository}", tag)


def run_ours(directory: Path, source: Registry, destination: Registry) -> None:
    """Mirror with our command line."""
    file = directory / "mirror.yaml"
    file.write_text(
        "Repositories:\n"
        + "".join(
            f"  - SrcRepository: {source.host(FAR)}/team/app{repository}\n"
            f"    DestRepository: {destination.host(FAR)}/ours/{{path}}\n"
            for repository in range(REPOSITORIES)
        )
    )
    state = str(directory / "state.json")
    _run(sys.executable, "-m", "ecr_image_replicator", "mirror", str(file), "-q", "--state", state)


def run_skopeo(directory: Path, source: Registry, destination: Registry) -> None:
    """Mirror with ``skopeo sync``."""
    file = directory / "skopeo.yaml"
    file.write_text(
        f"{source.host(FAR)}:\n  tls-verify: false\n  images:\n"
        + "".join(f"    team/app{repository}: []\n" for repository in range(REPOSITORIES))
    )
    target = f"{destination.host(FAR)}/skopeo"
    _run(
        *("skopeo", "--insecure-policy", "sync", "--src", "yaml", "--dest", "docker"),
        *("--dest-tls-verify=false", str(file), target),
    )


def _run(*command: str) -> None:
    environment = {**os.environ, "PLAIN_HTTP_REGISTRIES": "127.0.0.1"}
    subprocess.run(command, env=environment, check=True, capture_output=True)


def count(accesses: list[Access]) -> Counter[str]:
    """Count requests, and the pulls among them."""
    pulls = sum(each.method == "GET" and "/manifests/" in each.path for each in accesses)
    return Counter({"requests": len(accesses), "pulls": pulls})


def measure(
    run: Callable[[Path, Registry, Registry], None],
    directory: Path,
    source: Registry,
    destination: Registry,
) -> str:
    """Run a program once and describe what it took."""
    source.take_log(NEAR)
    destination.take_log(NEAR)
    began_at = time.monotonic()
    run(directory, source, destination)
    seconds = time.monotonic() - began_at
    asked, pushed = count(source.take_log(NEAR)), count(destination.take_log(NEAR))
    return (
        f"{seconds:.1f} s, {asked['requests']} requests at the source ({asked['pulls']} pulls), "
        f"{pushed['requests']} at the destination ({pushed['pulls']} pulls)"
    )


def main() -> None:
    """Measure both programs, from empty and unchanged."""
    shared = Path("/dev/shm")  # noqa: S108 - registries on tmpfs
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
        directory, authority = Path(name), trustme.CA()
        with (
            Registry(directory / "source", authority) as source,
            Registry(directory / "destination", authority) as destination,
        ):
            push_tags(source)
            for title, run in (("ours", run_ours), ("skopeo sync", run_skopeo)):
                for state in ("from empty", "unchanged"):
                    found = measure(run, directory, source, destination)
                    print(f"{title}, {state}: {found}", flush=True)


if __name__ == "__main__":
    main()
