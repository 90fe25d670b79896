"""Create or update one virtual environment: `environment.py GROUP DIRECTORY`.

The interpreter that runs this script becomes the environment's. The packages are those of one
dependency group of `pyproject.toml`, at the versions and hashes of `uv.lock`. An environment that
is up to date is left alone; one of another Python, or a broken one, is replaced. Processes that
run this at the same time wait for each other.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV_REQUIREMENTS = ROOT / ".ci" / "uv.txt"
#: The environment that has the installer; the others are installed by it.
INSTALLER = ROOT / ".venv"
#: Groups that come with the engine's own dependencies. The others are tools that stand alone.
WITH_ENGINE = ("dev",)
NO_VENV = (
    "The venv module of {python} is incomplete.\n"
    "On Debian and Ubuntu install it with: apt-get install python3-venv"
)


def main(group: str, directory: Path) -> None:
    """Bring `directory` to the state that the lock describes for `group`."""
    with (ROOT / "pyproject.toml").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = wanted_state(group)
        if is_ready(directory, state):
            return
        print(f"Installing the {group} environment into {directory.name}", flush=True)
        (directory / ".ready").unlink(missing_ok=True)
        if not runs_this_python(directory):
            create(directory)
        install(group, directory)
        (directory / ".ready").write_text(state)


def wanted_state(group: str) -> str:
    """Return what identifies the interpreter, the group and the locked packages."""
    digest = hashlib.sha256((ROOT / "uv.lock").read_bytes()).hexdigest()
    return f"{identity()}\n{group}\n{digest}\n"


def identity() -> str:
    """Return the version and the installation of this interpreter."""
    return f"{sys.version} {sys.base_prefix}"


def is_ready(directory: Path, state: str) -> bool:
    """Whether `directory` has that state and an interpreter that starts."""
    ready = directory / ".ready"
    return ready.is_file() and ready.read_text() == state and runs_this_python(directory)


def runs_this_python(directory: Path) -> bool:
    """Whether the environment starts and has the interpreter that runs this script."""
    python = directory / "bin" / "python"
    if not python.exists():
        return False
    finished = subprocess.run(
        [python, "-c", "import sys; print(sys.version, sys.base_prefix)"],
        capture_output=True,
        text=True,
        check=False,
    )
    return finished.returncode == 0 and finished.stdout.rstrip("\n") == identity()


def create(directory: Path) -> None:
    """Create an empty environment, in place of what is there."""
    if importlib.util.find_spec("ensurepip") is None:
        sys.exit(NO_VENV.format(python=sys.executable))
    # of this interpreter's installation: an environment's own Python would link to itself
    python = getattr(sys, "_base_executable", None) or sys.executable
    subprocess.run([python, "-m", "venv", "--clear", directory], check=True)


def install(group: str, directory: Path) -> None:
    """Install the group's packages, and remove all others."""
    installer = INSTALLER if (INSTALLER / "bin" / "uv").exists() else directory
    if not (installer / "bin" / "uv").exists():
        pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        pip += ["--disable-pip-version-check", "--require-hashes", "-r", str(UV_REQUIREMENTS)]
        subprocess.run(pip, check=True)
    selection = ["--group", group] if group in WITH_ENGINE else ["--only-group", group]
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(directory)}
    environment.pop("VIRTUAL_ENV", None)
    sync = [str(installer / "bin" / "uv"), "sync", "--quiet", "--frozen", "--no-install-project"]
    sync += ["--python", str(directory / "bin" / "python"), "--no-python-downloads", *selection]
    subprocess.run(sync, cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1], ROOT / sys.argv[2])
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd[0]} failed with status {error.returncode}: see above")
