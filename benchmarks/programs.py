"""The interface of measured programs, with skopeo and the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from benchmarks import versions
from benchmarks.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.images import PublishedImage

_ROOT: Final = Path(__file__).parent.parent
_LAUNCHER: Final = (sys.executable, "-I", "-S", str(Path(__file__).parent / "launch.py"))
#: Timeout, far more than the slowest program needs for the largest row.
_MOST_SECONDS: Final = 1200


class CopyError(RuntimeError):
    """A program failed to copy."""


@dataclass(frozen=True, slots=True)
class Job:
    """One copy of an image to the same repository on another host."""

    image: PublishedImage
    source: str
    destination: str
    tls: bool

    @property
    def source_image(self) -> str:
        """The source reference in skopeo's and CloudFormation's syntax."""
        return f"docker://{self.source}/{self.image.repository}:latest"

    @property
    def destination_image(self) -> str:
        """The destination reference."""
        return f"docker://{self.destination}/{self.image.repository}:latest"


class Program(Protocol):
    """A program that copies images."""

    name: str

    def warm_up(self, job: Job) -> None:
        """Copy once without measurement, if the program keeps running between copies."""

    def copy(self, job: Job) -> Usage:
        """Copy an image and return the resource usage.

        Raises
        ------
        CopyError, EmulatorError, FunctionError
            The copy failed.
        """

    def close(self) -> None:
        """Stop all processes."""


class Skopeo:
    """The installed skopeo, with a new process for each copy."""

    def __init__(self, ca_file: Path, log: Path) -> None:
        self.name = versions.skopeo()
        self._ca_file = ca_file
        self._log = log

    def warm_up(self, job: Job) -> None:
        """Do nothing, since each copy is a new process."""

    def copy(self, job: Job) -> Usage:
        """Copy with a new process."""
        whole_index = ("--all",) if job.image.shape.children > 1 else ()
        return self.run(job.source_image, job.destination_image, *whole_index, tls=job.tls)

    def run(self, source: str, destination: str, *arguments: str, tls: bool) -> Usage:
        """Copy between any references in skopeo's syntax."""
        verify = "true" if tls else "false"
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", *arguments]
        command += [f"--src-tls-verify={verify}", f"--dest-tls-verify={verify}"]
        return launch([*command, source, destination], self.environment, self._log)

    def sync(self, file: Path, destination: str) -> Usage:
        """Copy the repositories in a file to below a repository, over plain HTTP."""
        command = ["skopeo", "--insecure-policy", "sync", "--src", "yaml", "--dest", "docker"]
        command += ["--dest-tls-verify=false", str(file), destination]
        return launch(command, self.environment, self._log)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables."""
        return {
            "PATH": os.environ["PATH"],
            "SSL_CERT_FILE": str(self._ca_file),
            **no_blob_cache(self._log.parent),
        }

    def close(self) -> None:
        """Do nothing."""


class CommandLine:
    """The command line, with a new process for each copy, started like its console script."""

    name = "ours, command line"

    def __init__(self, ca_file: Path, log: Path, *, plain_http: str = "") -> None:
        self._log = log
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(log.parent / "nowhere"),
            "PYTHONPATH": str(_ROOT / "handler"),
            "SSL_CERT_FILE": str(ca_file),
            "PLAIN_HTTP_REGISTRIES": plain_http,
        }

    def warm_up(self, job: Job) -> None:
        """Compile bytecode, as an installer does."""
        self.copy(job)

    def copy(self, job: Job) -> Usage:
        """Copy with a new process."""
        whole_index = ("--all-platforms",) if job.image.shape.children > 1 else ()
        images = (job.source_image, job.destination_image)
        return self.run("copy", "--quiet", *whole_index, *images)

    def run(self, *arguments: str) -> Usage:
        """Run any command."""
        script = "import sys; from ecr_image_replicator.__main__ import main; sys.exit(main())"
        command = [sys.executable, "-c", script, *arguments]
        return launch(command, self._environment, self._log)

    def close(self) -> None:
        """Do nothing."""


def launch(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Usage:
    """Run a command and return its resource usage.

    Raises
    ------
    CopyError
        The command failed or did not end.
    """
    report = log.with_suffix(".json")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*_LAUNCHER, str(report), *command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(_MOST_SECONDS)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                message = f"{command[0]} did not end within {_MOST_SECONDS} s; see {log}"
                raise CopyError(message) from error
            raise
    if status != 0:
        message = f"{command[0]} failed with {status}: {_last_line(log)}"
        raise CopyError(message)
    wall_seconds, used_seconds, most_bytes = json.loads(report.read_text())
    return Usage(wall_seconds, used_seconds, most_bytes)


def _last_line(log: Path) -> str:
    return "".join(log.read_text(errors="replace").splitlines()[-1:])


def no_blob_cache(directory: Path) -> dict[str, str]:
    """Remove the blob cache of skopeo's libraries between copies, as in a new function."""
    nowhere = str(directory / "nowhere")
    return {
        "HOME": nowhere,
        "XDG_DATA_HOME": "/dev/null/data",
        "XDG_RUNTIME_DIR": nowhere,
        "_CONTAINERS_ROOTLESS_UID": "1000",
    }
