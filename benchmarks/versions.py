"""The machine and the versions of all programs, for the report."""

from __future__ import annotations

import datetime as dt
import functools
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks import artifact
from ecr_image_replicator.version import __version__

_ROOT: Final = Path(__file__).parent.parent
#: Profile-guided optimization is an option of CPython's configure script.
_DESCRIBE_PYTHON: Final = """
import platform, ssl, sysconfig
version, openssl = platform.python_version(), ssl.OPENSSL_VERSION.split()[1]
options = sysconfig.get_config_var("CONFIG_ARGS") or ""
is_optimized = "--enable-optimizations" in options
print(f"Python {version} {'with' if is_optimized else 'without'} PGO, OpenSSL {openssl}")
"""
_PEERS: Final = Path(__file__).parent / "peers.txt"


@functools.cache
def skopeo() -> str:
    """Return skopeo's name with its version."""
    return _version_of("skopeo")


@functools.cache
def cdk_ecr_deployment() -> str:
    """Return the name of the other function with the version that `make bench` downloads."""
    return parse_requirement(_PEERS.read_text())


def parse_requirement(text: str) -> str:
    """Return ``name version`` of the requirement ``name==version --hash=...``."""
    name, _, version = text.split(maxsplit=1)[0].partition("==")
    return f"{name} {version}"


def machine() -> str:
    """Return the date, the processor and the kernel."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    model = found[1] if found else platform.machine()
    today = dt.datetime.now(dt.UTC).date()
    return f"{today}, {os.cpu_count()} cores of {model}, Linux {platform.release()}"


def programs() -> list[str]:
    """Return the versions of all programs."""
    return [
        f"ecr-image-replicator {__version__} ({_commit()})",
        skopeo(),
        cdk_ecr_deployment(),
        f"function and floor: {_output(str(artifact.PYTHON), '-c', _DESCRIBE_PYTHON)}",
        f"command line: {_output(sys.executable, '-c', _DESCRIBE_PYTHON)}",
        _version_of("docker-registry"),
    ]


def _version_of(program: str) -> str:
    return f"{program} {_output(program, '--version').split()[-1]}"


def _commit() -> str:
    changed = _output("git", "-C", str(_ROOT), "status", "--porcelain", "--untracked-files=no")
    # changes of the results file do not change the measured code
    is_changed = any(not line.endswith("benchmarks/RESULTS.md") for line in changed.splitlines())
    commit = _output("git", "-C", str(_ROOT), "rev-parse", "--short", "HEAD")
    return f"{commit}, changed" if is_changed else commit


def _output(*command: str) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return finished.stdout.strip()
