"""The measured programs: the function, the function of cdk-ecr-deployment, and skopeo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from local.emulator import LambdaEmulator

from benchmarks.usage import Usage, cpu_seconds, peak_bytes, reset_peak

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from local.cloudformation import CloudFormationEndpoint

    from benchmarks.images import PublishedImage

_ROOT: Final = Path(__file__).parent.parent
_LAUNCHER: Final = (sys.executable, "-I", "-S", str(Path(__file__).parent / "launch.py"))


OURS_NEW: Final = "ours, new process"
_INVOCATION_SECONDS: Final = 600
_LOG_TAIL_CHARACTERS: Final = 2000


#: The other custom resource's program, if `make bench` has downloaded it.
PEER: Final = Path(__file__).parent / ".peers" / "bootstrap"


class CopyError(RuntimeError):
    """A program failed to copy."""


@dataclass(frozen=True, slots=True)
class Job:
    """One copy: an image, from one host to the same repository on another."""

    image: PublishedImage
    source: str
    destination: str
    tls: bool

    @property
    def source_image(self) -> str:
        """The source reference, as skopeo and the stack's properties write it."""
        return f"docker://{self.source}/{self.image.repository}:latest"

    @property
    def destination_image(self) -> str:
        """The destination reference."""
        return f"docker://{self.destination}/{self.image.repository}:latest"


class Program(Protocol):
    """Something that copies images."""

    name: str

    def warm_up(self, job: Job) -> None:
        """Copy once without measuring, if this program stays running between copies."""

    def copy(self, job: Job) -> Usage:
        """Copy an image and return what it cost.

        Raises
        ------
        CopyError, EmulatorError, FunctionError
            It failed.
        """

    def close(self) -> None:
        """Stop what was started."""


class Function:
    """A function under the runtime interface emulator that responds to CloudFormation.

    Parameters
    ----------
    name
        As it stands in the tables.
    runtime, handler
        What runs it, and its name there.
    directory
        The function's working directory.
    environment
        The function's.
    whole_index
        The property that asks for every platform.
    endpoint
        Receives the responses.
    warm
        One process for all copies, or a new one for each.
    """

    def __init__(
        self,
        name: str,
        runtime: tuple[str, ...],
        handler: str,
        *,
        directory: Path,
        environment: Mapping[str, str],
        whole_index: Mapping[str, str],
        endpoint: CloudFormationEndpoint,
        warm: bool,
    ) -> None:
        self.name = name
        self._runtime = runtime
        self._handler = handler
        self._directory = directory
        self._environment = environment
        self._whole_index = whole_index
        self._endpoint = endpoint
        self._warm = warm
        self._emulator: LambdaEmulator | None = None

    def warm_up(self, job: Job) -> None:
        """Start the process for warm copies."""
        if self._warm:
            self.copy(job)

    def copy(self, job: Job) -> Usage:
        """Invoke it, in the warm process or in a new one."""
        properties = {"SrcImage": job.source_image, "DestImage": job.destination_image}
        if job.image.shape.children > 1:
            properties |= self._whole_index
        return self.replicate(properties)

    def replicate(self, properties: Mapping[str, str]) -> Usage:
        """Invoke it with any resource properties."""
        emulator = self._emulator or self._start()
        is_new = self._emulator is None
        try:
            event = self._endpoint.event("Create", properties)
            return self._measure(emulator, event, is_new=is_new)
        finally:
            if self._warm:
                self._emulator = emulator
            else:
                emulator.__exit__()

    def close(self) -> None:
        """Stop the process for warm copies."""
        if self._emulator is not None:
            self._emulator.__exit__()
            self._emulator = None

    def _start(self) -> LambdaEmulator:
        """Start the emulator; the first event starts the function's process."""
        return LambdaEmulator(
            self._directory,
            handler=self._handler,
            runtime=self._runtime,
            environment=self._environment,
            timeout_seconds=_INVOCATION_SECONDS,
        ).__enter__()

    def _measure(
        self, emulator: LambdaEmulator, event: Mapping[str, Any], *, is_new: bool
    ) -> Usage:
        before = 0.0
        if not is_new:
            reset_peak(emulator.pid)
            before = cpu_seconds(emulator.pid)
        began_at = time.perf_counter()
        emulator.invoke(event)
        wall_seconds = time.perf_counter() - began_at
        pid = emulator.pid
        response = self._endpoint.wait_for_response(event["RequestId"])
        if response.document["Status"] != "SUCCESS":
            reason = response.document.get("Reason")
            message = f"{self.name}: {reason}\n{emulator.log[-_LOG_TAIL_CHARACTERS:]}"
            raise CopyError(message)
        return Usage(wall_seconds, cpu_seconds(pid) - before, peak_bytes(pid))


def our_function(
    endpoint: CloudFormationEndpoint,
    ca_file: Path,
    *,
    warm: bool,
    handler: str = "app.lambda_handler",
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Function:
    """Return our function, configured as in the template, with further variables."""
    return Function(
        "ours, warm" if warm else OURS_NEW,
        (sys.executable, "-m", "awslambdaric"),
        handler,
        directory=_ROOT / "handler",
        environment={
            "PYTHONPATH": os.pathsep.join((str(_ROOT / "handler"), str(_ROOT))),
            "SSL_CERT_FILE": str(ca_file),
            "RESPONSE_HOSTS": "localhost",
            **environment,
        },
        whole_index={"Platforms": "all"},
        endpoint=endpoint,
        warm=warm,
    )


def cdk_ecr_deployment(
    bootstrap: Path,
    endpoint: CloudFormationEndpoint,
    ca_file: Path,
    directory: Path,
    *,
    warm: bool,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Function:
    """Return the other custom resource's function, a Go program with skopeo's libraries."""
    insecure = directory / "registries.conf"
    return Function(
        "cdk-ecr-deployment, " + ("warm" if warm else "new process"),
        (str(bootstrap),),
        "bootstrap",
        directory=bootstrap.parent,
        environment={
            "SSL_CERT_FILE": str(ca_file),
            "CONTAINERS_REGISTRIES_CONF": str(insecure),
            **_no_blob_cache(directory),
            **environment,
        },
        whole_index={"CopyImageIndex": "true"},
        endpoint=endpoint,
        warm=warm,
    )


def write_insecure_registries(directory: Path, hosts: Iterable[str]) -> None:
    """Configure the plain HTTP hosts for the `cdk_ecr_deployment` in that directory."""
    entries = [f'[[registry]]\nlocation = "{host}"\ninsecure = true\n' for host in hosts]
    (directory / "registries.conf").write_text("".join(entries))


class Skopeo:
    """Debian's skopeo, with one process for each copy."""

    name = "skopeo"

    def __init__(self, ca_file: Path, log: Path) -> None:
        self._ca_file = ca_file
        self._log = log

    def warm_up(self, job: Job) -> None:
        """Do nothing: each copy is a new process."""

    def copy(self, job: Job) -> Usage:
        """Copy with one process."""
        whole_index = ("--all",) if job.image.shape.children > 1 else ()
        return self.run(job.source_image, job.destination_image, *whole_index, tls=job.tls)

    def run(self, source: str, destination: str, *arguments: str, tls: bool) -> Usage:
        """Copy between any references in skopeo's syntax."""
        verify = "true" if tls else "false"
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", *arguments]
        command += [f"--src-tls-verify={verify}", f"--dest-tls-verify={verify}"]
        environment = {
            "PATH": os.environ["PATH"],
            "SSL_CERT_FILE": str(self._ca_file),
            **_no_blob_cache(self._log.parent),
        }
        return launch([*command, source, destination], environment, self._log)

    def close(self) -> None:
        """Do nothing."""


def launch(command: list[str], environment: Mapping[str, str], log: Path) -> Usage:
    """Run a command and return its resource usage.

    Raises
    ------
    CopyError
        It failed.
    """
    report = log.with_suffix(".json")
    with log.open("ab") as output:
        finished = subprocess.run(
            [*_LAUNCHER, str(report), *command],
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if finished.returncode != 0:
        message = f"{command[0]} failed with {finished.returncode}; see {log}"
        raise CopyError(message)
    wall_seconds, used_seconds, most_bytes = json.loads(report.read_text())
    return Usage(wall_seconds, used_seconds, most_bytes)


def _no_blob_cache(directory: Path) -> dict[str, str]:
    """Remove the blob cache of skopeo's libraries between copies, as in a new function."""
    nowhere = str(directory / "nowhere")
    return {
        "HOME": nowhere,
        "XDG_DATA_HOME": "/dev/null/data",
        "XDG_RUNTIME_DIR": nowhere,
        "_CONTAINERS_ROOTLESS_UID": "1000",
    }
